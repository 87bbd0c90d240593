//! Structure out of bytes: numbers and pieces taken off the front, so that a small change of the input is a small change of what it means.

/// Takes values off the front of an input. An input that has ended gives zeros.
#[derive(Clone, Debug)]
pub struct Draw<'a> {
    rest: &'a [u8],
}

impl<'a> Draw<'a> {
    /// Draws from `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Draw { rest: bytes }
    }

    /// Whether the input has ended.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// One byte.
    pub fn u8(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// A number below `bound` from one byte; 0 if `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.u8()).checked_rem(bound).unwrap_or(0)
    }

    /// Yes once in `n` values of a byte.
    pub fn one_in(&mut self, n: u8) -> bool {
        self.u8().is_multiple_of(n)
    }

    /// Yes or no.
    pub fn bool(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    /// A number that is mostly small and sometimes at an edge: one byte says which, small ones need no other.
    pub fn edgy(&mut self) -> u64 {
        match self.u8() {
            byte @ 0..=239 => u64::from(byte),
            240..=243 => self.u64(),
            244..=247 => 1 << (self.u8() % 64),
            248..=251 => u64::MAX - u64::from(self.u8()),
            _ => (1 << 48) + u64::from(self.u8()) - 128,
        }
    }

    /// A piece whose length stands before it in two bytes; what is there if the input ends earlier.
    pub fn piece(&mut self) -> &'a [u8] {
        let length = usize::from(self.u16());
        self.take(length)
    }

    /// A piece whose length stands before it in one byte.
    pub fn short_piece(&mut self) -> &'a [u8] {
        let length = usize::from(self.u8());
        self.take(length)
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (head, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        head
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let bytes = self.take(N);
        array[..bytes.len()].copy_from_slice(bytes);
        array
    }
}
