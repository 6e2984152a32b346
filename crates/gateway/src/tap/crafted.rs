//! Packets for tests.

/// A TCP segment: its ports, numbers, flags and bytes.
pub(super) fn tcp(ports: [u16; 2], numbers: [u32; 2], flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = [0; 20];
    header[..2].copy_from_slice(&ports[0].to_be_bytes());
    header[2..4].copy_from_slice(&ports[1].to_be_bytes());
    header[4..8].copy_from_slice(&numbers[0].to_be_bytes());
    header[8..12].copy_from_slice(&numbers[1].to_be_bytes());
    header[12] = 5 << 4;
    header[13] = flags;
    [&header, payload].concat()
}

/// In IPv4 from 192.0.2.1 to 192.0.2.2, with so many words of header.
pub(super) fn ipv4(protocol: u8, words: u8, fragment: u16, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0; usize::from(words) * 4];
    let length = header.len() + content.len();
    header[0] = 0x40 | words;
    header[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    header[6..8].copy_from_slice(&fragment.to_be_bytes());
    header[9] = protocol;
    header[12..16].copy_from_slice(&[192, 0, 2, 1]);
    header[16..20].copy_from_slice(&[192, 0, 2, 2]);
    [&header, content].concat()
}

/// In IPv6 from ::1 to ::2.
pub(super) fn ipv6(next: u8, content: &[u8]) -> Vec<u8> {
    let mut header = [0; 40];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&(content.len() as u16).to_be_bytes());
    header[6] = next;
    header[23] = 1;
    header[39] = 2;
    [&header, content].concat()
}

/// In Ethernet, with tags: their types and VLANs.
pub(super) fn ethernet(tags: &[(u16, u16)], ethertype: u16, content: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    for (kind, vlan) in tags {
        frame.extend(kind.to_be_bytes());
        frame.extend(vlan.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(content);
    frame
}
