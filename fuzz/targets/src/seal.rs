//! Checksums put right, so that what lies behind them is reached.
//!
//! The layouts are stated here a second time, on purpose: a decoder that stopped checking would still pass its own encoder's bytes.

/// The bytes with a CRC32C of everything else written at `at..at + 4`; none if they are too short.
pub fn with_crc_over_the_rest(bytes: &[u8], at: usize) -> Option<Vec<u8>> {
    let mut sealed = bytes.to_vec();
    let (before, field) = sealed.split_at_mut_checked(at)?;
    let (field, behind) = field.split_at_mut_checked(4)?;
    let crc = crc32c::crc32c_append(crc32c::crc32c(before), behind);
    field.copy_from_slice(&crc.to_le_bytes());
    Some(sealed)
}

/// A datagram of the sample cluster around what `bytes` hold, kind and codec as they say.
pub fn datagram(bytes: &[u8], cluster_tag: [u8; 8]) -> Option<Vec<u8>> {
    let mut sealed = bytes.to_vec();
    sealed.get_mut(..5)?.copy_from_slice(b"SLIM\x01");
    *sealed.get_mut(6)? = 0;
    sealed.get_mut(8..16)?.copy_from_slice(&cluster_tag);
    with_crc_over_the_rest(&sealed, 40)
}

/// A frame of a link around what `bytes` hold, codec and flags as they say.
pub fn link_frame(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut sealed = bytes.to_vec();
    *sealed.first_mut()? = 1;
    *sealed.get_mut(2)? = 0;
    with_crc_over_the_rest(&sealed, 4)
}

/// A small file of a store: magic, version 1, the body's length, the checksum, then `body`.
pub fn small_file(magic: &[u8; 8], body: &[u8]) -> Vec<u8> {
    let head = [&magic[..], &1u32.to_le_bytes(), &(body.len() as u32).to_le_bytes()].concat();
    let crc = crc32c::crc32c_append(crc32c::crc32c(&head), body);
    [&head[..], &crc.to_le_bytes(), body].concat()
}

/// A segment file of this number and store around the records in `bytes`: lengths, batches, kinds, flags and bodies are as they stand
/// there; places, links and checksums are put right as far as the lengths lead.
pub fn segment(bytes: &[u8], number: u64, store: [u8; 16], previous: u32) -> (Vec<u8>, u32) {
    const HEADER_BYTES: usize = 64;
    let mut sealed = vec![0; HEADER_BYTES];
    sealed.extend(bytes);
    sealed.resize(sealed.len().next_multiple_of(4_096), 0);
    let length = sealed.len() as u64;
    sealed[..8].copy_from_slice(b"slimlog\n");
    sealed[8..12].copy_from_slice(&1u32.to_le_bytes());
    sealed[16..32].copy_from_slice(&store);
    for (at, field) in [(32, number), (40, number), (48, length)] {
        sealed[at..at + 8].copy_from_slice(&field.to_le_bytes());
    }
    let crc = crc32c::crc32c(&sealed[..60]);
    sealed[60..64].copy_from_slice(&crc.to_le_bytes());

    let (mut at, mut previous) = (HEADER_BYTES, previous);
    while let Some(head) = sealed.get(at..at + HEADER_BYTES) {
        let body = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let end = at + (HEADER_BYTES + body).next_multiple_of(8);
        // An unused end stays as it is.
        if head.iter().all(|byte| *byte == 0) || end > sealed.len() {
            break;
        }
        let record = &mut sealed[at..end];
        record[8..24].copy_from_slice(&store);
        record[24..32].copy_from_slice(&number.to_le_bytes());
        record[32..40].copy_from_slice(&(at as u64).to_le_bytes());
        record[56..60].copy_from_slice(&previous.to_le_bytes());
        previous = crc32c::crc32c(&record[4..]);
        record[..4].copy_from_slice(&previous.to_le_bytes());
        at = end;
    }
    (sealed, previous)
}
