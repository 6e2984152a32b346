//! QEMU's copy-on-write format, version 3, written in one pass.
//!
//! ```text
//!   cluster 0   header
//!   1 ..        the disk's clusters, in the order in which they were first written to
//!   then        L2 tables, L1 table, reference counts
//! ```
//!
//! A cluster that was never written to is not there and reads as zeros. What comes last is
//! written last: a file that ends early has no header and is no image.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::medium::Medium;

const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
/// Entries of eight bytes in a cluster.
const ENTRIES: u64 = CLUSTER / 8;
/// Counts of two bytes in a cluster.
const COUNTS: u64 = CLUSTER / 2;
const HEADER_BYTES: usize = 104;
/// An entry's cluster is referred to once, so it may be written to in place.
const OWNED: u64 = 1 << 63;

/// An image under way.
pub(crate) struct Qcow2<'a> {
    file: &'a File,
    bytes: u64,
    /// Where in the file each of the disk's clusters is, counted in clusters.
    places: BTreeMap<u64, u64>,
    /// The file's next free cluster.
    next: u64,
}

impl<'a> Qcow2<'a> {
    /// A disk of `bytes` zeros in an empty file.
    pub(crate) fn new(file: &'a File, bytes: u64) -> Self {
        Self { file, bytes, places: BTreeMap::new(), next: 1 }
    }

    /// Writes what makes the file an image.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        let l1_at = self.write_mapping()?;
        let (counts_at, count_clusters) = self.write_counts()?;
        self.file.set_len(self.next * CLUSTER)?;
        let mut header = vec![0; HEADER_BYTES];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"QFI\xfb");
        put(4, &3u32.to_be_bytes());
        put(20, &CLUSTER_BITS.to_be_bytes());
        put(24, &self.bytes.to_be_bytes());
        put(36, &(self.l2_tables() as u32).to_be_bytes());
        put(40, &l1_at.to_be_bytes());
        put(48, &counts_at.to_be_bytes());
        put(56, &count_clusters.to_be_bytes());
        put(96, &4u32.to_be_bytes());
        put(100, &(HEADER_BYTES as u32).to_be_bytes());
        self.file.write_all_at(&header, 0)
    }

    fn l2_tables(&self) -> u64 {
        self.bytes.div_ceil(CLUSTER * ENTRIES)
    }

    /// Both levels of the way from a cluster to its place; gives the upper one's offset.
    fn write_mapping(&mut self) -> io::Result<u64> {
        let mut tables: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (cluster, place) in &self.places {
            let table = tables.entry(cluster / ENTRIES);
            let table = table.or_insert_with(|| vec![0; ENTRIES as usize]);
            table[(cluster % ENTRIES) as usize] = (place * CLUSTER) | OWNED;
        }
        let mut upper = vec![0; self.l2_tables() as usize];
        for (index, table) in tables {
            upper[index as usize] = self.append(&big_endian(&table))? | OWNED;
        }
        self.append(&big_endian(&upper))
    }

    /// Everything is referred to once, the counts included. Gives the upper table's offset and
    /// how many clusters it has.
    fn write_counts(&mut self) -> io::Result<(u64, u32)> {
        let (mut blocks, mut upper) = (0, 0);
        loop {
            let clusters = self.next + blocks + upper;
            let needed = clusters.div_ceil(COUNTS);
            if needed == blocks && upper == needed.div_ceil(ENTRIES) {
                break;
            }
            (blocks, upper) = (needed, needed.div_ceil(ENTRIES));
        }
        let clusters = self.next + blocks + upper;
        let mut places = Vec::new();
        for block in 0..blocks {
            let counted = (clusters - block * COUNTS).min(COUNTS);
            places.push(self.append(&[0u8, 1].repeat(counted as usize))?);
        }
        let offset = self.append(&big_endian(&places))?;
        Ok((offset, upper as u32))
    }

    /// Writes at the file's end; gives the offset.
    fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let offset = self.next * CLUSTER;
        self.file.write_all_at(bytes, offset)?;
        self.next += (bytes.len() as u64).div_ceil(CLUSTER);
        Ok(offset)
    }

    fn place(&mut self, cluster: u64) -> u64 {
        *self.places.entry(cluster).or_insert_with(|| {
            self.next += 1;
            self.next - 1
        })
    }
}

impl Medium for Qcow2<'_> {
    fn write_at(&mut self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let place = self.place(offset / CLUSTER);
            let into = offset % CLUSTER;
            // As far as the file's clusters follow each other as the disk's do.
            let mut length = CLUSTER - into;
            while length < bytes.len() as u64
                && self.place((offset + length) / CLUSTER) == place + (into + length) / CLUSTER
            {
                length += CLUSTER;
            }
            let (now, later) = bytes.split_at(bytes.len().min(length as usize));
            self.file.write_all_at(now, place * CLUSTER + into)?;
            offset += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }
}

fn big_endian(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reader finds in a cluster of the disk.
    fn cluster(file: &File, number: u64) -> Option<Vec<u8>> {
        let number_at = |offset| {
            let mut bytes = [0; 8];
            file.read_exact_at(&mut bytes, offset).unwrap();
            u64::from_be_bytes(bytes)
        };
        let table = number_at(number_at(40) + number / ENTRIES * 8) & !OWNED;
        let place = (table != 0).then(|| number_at(table + number % ENTRIES * 8) & !OWNED);
        let place = place.filter(|&place| place != 0)?;
        let mut bytes = vec![0; CLUSTER as usize];
        file.read_exact_at(&mut bytes, place).unwrap();
        Some(bytes)
    }

    #[test]
    fn what_was_written_is_found_and_the_rest_is_not_there() {
        let file = tempfile::tempfile().unwrap();
        // More than one table of clusters.
        let mut image = Qcow2::new(&file, 3 * ENTRIES * CLUSTER);
        image.write_at(&[7; 10], 5 * CLUSTER - 4).unwrap();
        image.write_at(&[8; 3 * CLUSTER as usize], ENTRIES * CLUSTER).unwrap();
        image.write_at(&[9; 1], ENTRIES * CLUSTER + 1).unwrap();
        image.finish().unwrap();
        let at = |number| cluster(&file, number);
        assert_eq!(at(4).unwrap()[CLUSTER as usize - 5..], [0, 7, 7, 7, 7]);
        assert_eq!(at(5).unwrap()[..7], [7, 7, 7, 7, 7, 7, 0]);
        assert_eq!(at(ENTRIES).unwrap()[..3], [8, 9, 8]);
        assert!(at(ENTRIES + 2).unwrap().iter().all(|&byte| byte == 8));
        for number in [0, 6, ENTRIES + 3, 2 * ENTRIES] {
            assert!(at(number).is_none(), "{number}");
        }
        assert_eq!(file.metadata().unwrap().len() % CLUSTER, 0);
    }
}
