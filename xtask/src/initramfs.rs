//! What does a guest have: which files, and in what form does its kernel take them?
//!
//! A cpio archive of the format "newc" (Linux, Documentation/driver-api/early-userspace/
//! buffer-format.rst), not compressed.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::exec;

/// An archive under way.
#[derive(Default)]
pub struct Initramfs {
    bytes: Vec<u8>,
    /// Every path that is in it.
    paths: Vec<PathBuf>,
}

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

impl Initramfs {
    pub fn folder(&mut self, path: &str) {
        self.folders_to(Path::new(path));
    }

    pub fn file(&mut self, path: &str, content: &[u8]) {
        let path = Path::new(path);
        self.folders_to(path.parent().unwrap_or(path));
        self.entry(path, PROGRAM, content);
    }

    /// A program of this machine, with the libraries that it is linked with.
    pub fn program(&mut self, path: &str, from: &Path) -> Result<()> {
        let read = |file: &Path| fs::read(file).with_context(|| file.display().to_string());
        self.file(path, &read(from)?);
        let libraries = exec::output(Command::new("ldd").arg(from))?;
        for library in linked(&String::from_utf8_lossy(&libraries)) {
            if !self.paths.contains(&PathBuf::from(library)) {
                self.file(library, &read(Path::new(library))?);
            }
        }
        Ok(())
    }

    /// Writes it, for its owner alone.
    pub fn write(mut self, to: &Path) -> Result<()> {
        self.entry(Path::new("/TRAILER!!!"), 0, &[]);
        fs::write(to, self.bytes).with_context(|| to.display().to_string())?;
        fs::set_permissions(to, fs::Permissions::from_mode(0o600))?;
        Ok(())
    }

    fn folders_to(&mut self, path: &Path) {
        let mut folders: Vec<_> = path.ancestors().collect();
        folders.pop(); // the root is there
        for folder in folders.into_iter().rev() {
            if !self.paths.iter().any(|path| path == folder) {
                self.entry(folder, FOLDER, &[]);
            }
        }
    }

    fn entry(&mut self, path: &Path, mode: u32, content: &[u8]) {
        let name = path.to_string_lossy();
        let name = name.trim_start_matches('/');
        let number = self.paths.len() as u32 + 1;
        self.paths.push(path.into());
        let fields = [
            number, // the inode
            mode,
            0, // the user
            0, // the group
            1, // links
            0, // the time
            content.len() as u32,
            0, // four numbers of devices
            0,
            0,
            0,
            name.len() as u32 + 1,
            0, // no checksum
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// The libraries that `ldd` names by their paths; the kernel's own has none.
fn linked(ldd: &str) -> impl Iterator<Item = &str> {
    ldd.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found() {
        let ldd = "\tlinux-vdso.so.1 (0x7f)\n\tlibc.so.6 => /lib/libc.so.6 (0x7f)\n\
                   \t/lib64/ld-linux-x86-64.so.2 (0x7f)\n";
        let found: Vec<_> = linked(ldd).collect();
        assert_eq!(found, ["/lib/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
        assert_eq!(linked("\tstatically linked\n").count(), 0);
    }

    #[test]
    fn folders_come_once_and_before_what_is_in_them() {
        let mut initramfs = Initramfs::default();
        initramfs.file("/a/b/c", b"x");
        initramfs.file("/a/d", b"");
        let paths: Vec<_> = initramfs.paths.iter().map(|path| path.to_string_lossy()).collect();
        assert_eq!(paths, ["/a", "/a/b", "/a/b/c", "/a/d"]);
        assert_eq!(initramfs.bytes.len() % 4, 0);
        assert!(initramfs.bytes.starts_with(b"07070100000001000041ed"));
    }
}
