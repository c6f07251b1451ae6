#!/usr/bin/env python3
"""elf.py check "CLASS ORDER MACHINE" FILE [LOADER] | elf.py strip FILE

check: the file is of this class, byte order and machine, and static: no interpreter, no needed
library; or the one that this LOADER starts. strip: takes off what the kernel does not load, the table of sections with it; strip of
the compiler leaves sections such as .pdr of MIPS (100 KB)."""
import struct
import sys

MACHINES = {3: "Intel 80386", 8: "MIPS", 20: "PowerPC", 21: "PowerPC64", 40: "ARM",
            62: "X86-64", 183: "AArch64", 243: "RISC-V"}
PT_DYNAMIC, PT_INTERP, DT_NEEDED = 2, 3, 1


class Elf:
    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = bytearray(file.read())
        if self.data[:4] != b"\x7fELF":
            raise SystemExit(f"{path}: no ELF file")
        self.wide = self.data[4] == 2
        self.order = "<" if self.data[5] == 1 else ">"
        self.machine, = self.unpack("H", 18)
        # Behind the entry point: tables of segments and of sections.
        word = "Q" if self.wide else "I"
        _, self.phoff, self.shoff = self.unpack(3 * word, 24)
        self.counts_at = 54 if self.wide else 42
        self.phentsize, self.phnum = self.unpack("HH", self.counts_at)

    def unpack(self, form, at):
        return struct.unpack_from(self.order + form, self.data, at)

    def segments(self):
        """Kind, offset, size in the file."""
        for n in range(self.phnum):
            at = self.phoff + n * self.phentsize
            if self.wide:
                kind, _, offset, _, _, size = self.unpack("IIQQQQ", at)
            else:
                kind, offset, _, _, size = self.unpack("IIIII", at)
            yield kind, offset, size

    def describe(self):
        return " ".join(["64" if self.wide else "32", "LSB" if self.order == "<" else "MSB",
                         MACHINES.get(self.machine, f"machine-{self.machine}")])

    def loader(self):
        """Path of the program that the kernel starts for this one."""
        for kind, offset, size in self.segments():
            if kind == PT_INTERP:
                return self.data[offset:offset + size].rstrip(b"\0").decode()
        return None

    def is_static(self):
        form, step = ("QQ", 16) if self.wide else ("II", 8)
        for kind, offset, size in self.segments():
            if kind == PT_INTERP:
                return False
            if kind == PT_DYNAMIC:
                entries = range(offset, offset + size, step)
                if any(self.unpack(form, at)[0] == DT_NEEDED for at in entries):
                    return False
        return True

    def strip(self):
        end = self.phoff + self.phnum * self.phentsize
        end = max([end] + [offset + size for _, offset, size in self.segments()])
        word, at = ("Q", 40) if self.wide else ("I", 32)
        struct.pack_into(self.order + word, self.data, at, 0)
        # Number of sections, and the one that holds their names.
        struct.pack_into(self.order + "HH", self.data, self.counts_at + 6, 0, 0)
        del self.data[end:]


def main(arguments):
    if arguments[:1] == ["check"] and len(arguments) in (3, 4):
        elf = Elf(arguments[2])
        if elf.describe() != arguments[1]:
            raise SystemExit(f"{arguments[2]}: {elf.describe()} instead of {arguments[1]}")
        if arguments[3:]:
            if elf.loader() != arguments[3]:
                raise SystemExit(f"{arguments[2]}: {elf.loader()} instead of {arguments[3]}")
        elif not elf.is_static():
            raise SystemExit(f"{arguments[2]}: not static")
    elif arguments[:1] == ["strip"] and len(arguments) == 2:
        elf = Elf(arguments[1])
        elf.strip()
        with open(arguments[1], "wb") as file:
            file.write(elf.data)
    else:
        raise SystemExit(__doc__)


main(sys.argv[1:])
