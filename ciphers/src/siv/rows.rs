//! What the forms by instructions do alike. A macro, since a generic function would not be
//! compiled for the instructions of the vectors it is given.
//!
//! The module that uses it has `load`, `store`, `xor`, `zero`, `reversed` (bytes in the order of
//! POLYVAL), `vector` and `number`, `counter_blocks` (encrypted counters) and `Sum`.

macro_rules! rows {
    ($vector:ty, $features:literal) => {
        /// Blocks in flight, and powers of H.
        const LANES: usize = 8;
        const GROUP: usize = LANES * BLOCK;

        /// A row of blocks being hashed. Each group of [`LANES`] is multiplied by falling powers
        /// of H and reduced once; the first group may be shorter.
        struct Row<'a> {
            powers: &'a [u128; LANES],
            /// Blocks until the next reduction.
            left: usize,
            carry: $vector,
            sum: Sum,
        }

        impl Row<'_> {
            #[target_feature(enable = $features)]
            fn push(&mut self, block: $vector) {
                let block = xor(block, self.carry);
                self.left -= 1;
                self.sum.add(block, vector(self.powers[self.left]));
                self.carry = zero();
                if self.left == 0 {
                    self.carry = self.sum.reduce();
                    self.sum = Sum::zero();
                    self.left = LANES;
                }
            }

            /// Between two reductions only.
            #[target_feature(enable = $features)]
            fn push_groups(&mut self, groups: &[[u8; GROUP]]) {
                for group in groups {
                    // Known here, so that the compiler unrolls it.
                    self.left = LANES;
                    for block in group.as_chunks().0 {
                        self.push(reversed(load(block)));
                    }
                }
            }
        }

        /// The state after head, padded payload and lengths; `bulk` takes the groups between.
        #[target_feature(enable = $features)]
        fn ghash(
            powers: &[u128; LANES],
            head: u128,
            payload: &[u8],
            bulk: impl FnOnce(&mut Row<'_>, &[[u8; GROUP]]),
        ) -> u128 {
            let count = 1 + payload.len().div_ceil(BLOCK) + 1;
            let mut row = Row {
                powers,
                left: (count - 1) % LANES + 1,
                carry: zero(),
                sum: Sum::zero(),
            };
            // The row ends with a whole group, so whatever is left over comes first.
            let lead = (row.left - 1).min(payload.len() / BLOCK) * BLOCK;
            row.push(vector(head));
            let (lead, behind) = payload.split_at(lead);
            for block in lead.as_chunks().0 {
                row.push(reversed(load(block)));
            }
            let (groups, rest) = behind.as_chunks();
            bulk(&mut row, groups);
            let (blocks, tail) = rest.as_chunks();
            for block in blocks {
                row.push(reversed(load(block)));
            }
            if !tail.is_empty() {
                let mut block = [0; BLOCK];
                block[..tail.len()].copy_from_slice(tail);
                row.push(reversed(load(&block)));
            }
            row.push(vector(length_block(payload.len())));
            number(row.carry)
        }

        /// `bulk` takes the whole groups and gives the counter behind them.
        #[target_feature(enable = $features)]
        fn ctr(
            keys: &Schedule,
            first: u128,
            data: &mut [u8],
            bulk: impl FnOnce(&mut [[u8; GROUP]]) -> u128,
        ) {
            let (groups, rest) = data.as_chunks_mut();
            let next = if groups.is_empty() {
                first
            } else {
                bulk(groups)
            };
            if rest.is_empty() {
                return;
            }
            // More lanes than needed cost less than lanes one by one.
            let mut lanes = [zero(); LANES];
            if rest.len() <= LANES / 2 * BLOCK {
                let half: [_; LANES / 2] = counter_blocks(keys, next);
                lanes[..LANES / 2].copy_from_slice(&half);
            } else {
                lanes = counter_blocks(keys, next);
            }
            let (blocks, tail) = rest.as_chunks_mut();
            let last = lanes[blocks.len() % LANES];
            for (block, stream) in blocks.iter_mut().zip(lanes) {
                store(block, xor(load(block), stream));
            }
            if !tail.is_empty() {
                let mut stream = [0; BLOCK];
                store(&mut stream, last);
                for (byte, stream) in tail.iter_mut().zip(stream) {
                    *byte ^= stream;
                }
            }
        }

        #[target_feature(enable = $features)]
        fn ctr_groups(keys: &Schedule, first: u128, groups: &mut [[u8; GROUP]]) -> u128 {
            let mut next = first;
            for group in groups {
                let stream: [_; LANES] = counter_blocks(keys, next);
                for (block, stream) in group.as_chunks_mut().0.iter_mut().zip(stream) {
                    store(block, xor(load(block), stream));
                }
                next = next.wrapping_add(LANES as u128);
            }
            next
        }
    };
}
