//! An ext4 filesystem with exactly the tree of a state, written in one pass.
//!
//! What `mkfs.ext4 -d` loses stays: nanoseconds, sockets, every attribute. What the kernel
//! would draw by chance or take from a clock is settled: the same tree makes the same bytes.
//! The access, change and birth times of a file, which no state keeps, are its modification
//! time. There is no `lost+found` unless the state has one; a checker makes it when it needs it.
//!
//! ```text
//!   plan      tree -> inodes in breadth-first order, so a directory's files lie together
//!   geometry  how many blocks -> groups, and where their tables are
//!   writer    contents, in the order of inodes, at the next free blocks; then the tables
//! ```
//!
//! | module | holds |
//! |---|---|
//! | `plan` | which inodes there are, and how many blocks they need |
//! | `geometry` | groups and what of them is taken before any file |
//! | `space` | the next free blocks |
//! | `content` | bytes of files, and where they are not only zeros |
//! | `inode`, `extents`, `directory`, `attributes` | what an inode is made of |
//! | `inodes` | the tables of inodes |
//! | `journal`, `resize` | the inodes that belong to the filesystem |
//! | `tables` | superblocks, descriptors, bitmaps |
//! | `writer` | all of them in order |
//!
//! The format is that of the kernel's `Documentation/filesystems/ext4`; its own checker and the
//! kernel are what the tests ask.

mod attributes;
mod content;
mod directory;
mod extents;
mod geometry;
mod inode;
mod inodes;
mod journal;
mod plan;
mod resize;
mod space;
mod tables;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use geometry::Geometry;
pub(crate) use plan::Plan;
pub(crate) use writer::write;

/// Bytes of a block.
pub(crate) const BLOCK: u64 = 4096;
const BLOCK_BYTES: usize = BLOCK as usize;

/// Blocks of a group: as many as one block has bits.
const GROUP: u64 = BLOCK * 8;

/// Bytes of an inode.
const INODE_BYTES: usize = 256;

/// The first inode number for files; those below belong to the filesystem.
const FIRST_INODE: u32 = 11;
const ROOT_INODE: u32 = 2;
const RESIZE_INODE: u32 = 7;
const JOURNAL_INODE: u32 = 8;

/// So many blocks from there on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    start: u64,
    blocks: u64,
}
