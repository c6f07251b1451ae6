// What src/os says of the BSDs, against their headers: a wrong length or number is another request
// to the kernel, or none, and nobody here can try it. cross/build compiles this and throws it away.
#include <sys/param.h>
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/ioctl.h>
#include <sys/sockio.h>
#include <stddef.h>
#include <net/if.h>
#include <net/if_dl.h>
#include <net/route.h>
#include <netinet/in.h>
#ifdef __FreeBSD__
#include <net/if_tap.h>
#include <net/if_var.h>
#include <netinet/in_var.h>
#endif
#ifdef __NetBSD__
#include <net/if_ether.h>
#include <net/if_tap.h>
#endif
#ifdef __OpenBSD__
#include <netinet/in_var.h>
#endif
#include <netinet6/in6_var.h>

#define same(is, said) _Static_assert((is) == (said), #is " is not " #said)
#define writes(group, number, length) (0x80000000u | (length) << 16 | (group) << 8 | (number))
#define reads(group, number, length) (0x40000000u | (length) << 16 | (group) << 8 | (number))
#define both(group, number, length) (writes(group, number, length) | reads(group, number, length))

// route_message.rs: a layout of each system.
#define layout(header, index, addresses, sequence, error, family_v6, version) \
    same(sizeof(struct rt_msghdr), header); \
    same(offsetof(struct rt_msghdr, rtm_version), 2); \
    same(offsetof(struct rt_msghdr, rtm_type), 3); \
    same(offsetof(struct rt_msghdr, rtm_index), index); \
    same(offsetof(struct rt_msghdr, rtm_addrs), addresses); \
    same(offsetof(struct rt_msghdr, rtm_seq), sequence); \
    same(offsetof(struct rt_msghdr, rtm_errno), error); \
    same(AF_INET6, family_v6); \
    same(RTM_VERSION, version)

same(RTM_ADD, 1);
same(RTM_DELETE, 2);
same(RTM_CHANGE, 3);
same(RTM_GET, 4);
same(RTA_DST, 1 << 0);
same(RTA_GATEWAY, 1 << 1);
same(RTA_IFP, 1 << 4);
same(AF_LINK, 18);
same(offsetof(struct sockaddr_dl, sdl_index), 2);
same(offsetof(struct sockaddr_dl, sdl_nlen), 5);
same(offsetof(struct sockaddr_dl, sdl_alen), 6);
same(offsetof(struct sockaddr_dl, sdl_data), 8);

// bsd.rs and route_bsd.rs.
same(IFNAMSIZ, 16);
same(offsetof(struct in6_aliasreq, ifra_flags), 100);
same(offsetof(struct in6_aliasreq, ifra_lifetime), 104);
same(sizeof(struct in6_ifreq), 288);
same(SIOCDIFADDR_IN6, writes('i', 25, 288));
same(SIOCGIFAFLAG_IN6, both('i', 73, 288));
same(SIOCSIFFLAGS, writes('i', 16, sizeof(struct ifreq)));
same(SIOCGIFFLAGS, both('i', 17, sizeof(struct ifreq)));
same(SIOCDIFADDR, writes('i', 25, sizeof(struct ifreq)));
same(IN6_IFF_TENTATIVE, 0x02);
same(IN6_IFF_DUPLICATED, 0x04);

#ifdef __FreeBSD__
layout(152, 4, 12, 20, 24, 28, 5);
same(RTM_NEWADDR, 0xc);
same(RTM_DELADDR, 0xd);
same(RTM_IFINFO, 0xe);
same(RTM_NEWMADDR, 0xf);
same(RTM_DELMADDR, 0x10);
same(RTM_IFANNOUNCE, 0x11);
same(sizeof(struct ifreq), 32);
same(SIOCSIFLLADDR, writes('i', 60, 32));
same(SIOCSIFMTU, writes('i', 52, 32));
same(SIOCSIFNAME, writes('i', 40, 32));
same(SIOCIFDESTROY, writes('i', 121, 32));
same(TAPGIFNAME, reads('t', 93, 32));
same(SIOCAIFADDR, writes('i', 43, 68));
same(sizeof(struct in_aliasreq), 68);
same(SIOCAIFADDR_IN6, writes('i', 27, 136));
same(IN6_IFF_NODAD, 0x20);
same(IN6_IFF_TEMPORARY, 0x80);
#endif

#ifdef __NetBSD__
layout(120, 4, 12, 20, 24, 24, 4);
same(offsetof(struct rt_msghdr, rtm_flags), 8);
same(RT_ROUNDUP(1), 8);
same(RTF_UP, 1);
same(RTM_IFANNOUNCE, 0x10);
same(RTM_IFINFO, 0x14);
same(RTM_NEWADDR, 0x16);
same(RTM_DELADDR, 0x17);
same(RTM_CHGADDR, 0x18);
same(sizeof(struct sockaddr_dl), 32);
same(sizeof(struct ifreq), 144);
same(SIOCSIFPHYADDR, writes('i', 70, 64));
same(SIOCSIFMTU, writes('i', 127, 144));
same(TAPGIFNAME, reads('e', 0, 144));
same(SIOCAIFADDR, writes('i', 26, 64));
same(SIOCAIFADDR_IN6, writes('i', 107, 128));
same(IN6_IFF_TEMPORARY, 0x80);
same(IPV6_HOPLIMIT, 47);
same(sizeof(struct ether_multi_sysctl), 16);
same(offsetof(struct ether_multi_sysctl, enm_addrlo), 4);
#endif

#ifdef __OpenBSD__
layout(96, 6, 12, 28, 32, 24, 5);
same(offsetof(struct rt_msghdr, rtm_hdrlen), 4);
same(RTM_NEWADDR, 0xc);
same(RTM_DELADDR, 0xd);
same(RTM_IFINFO, 0xe);
same(RTM_IFANNOUNCE, 0xf);
same(RTM_DESYNC, 0x10);
same(RTM_CHGADDRATTR, 0x14);
same(sizeof(struct ifreq), 32);
same(SIOCSIFLLADDR, writes('i', 31, 32));
same(SIOCSIFMTU, writes('i', 127, 32));
same(SIOCAIFADDR, writes('i', 26, 64));
same(SIOCAIFADDR_IN6, writes('i', 26, 128));
same(IN6_IFF_TEMPORARY, 0x80);
same(IPV6_HOPLIMIT, 47);
#endif
