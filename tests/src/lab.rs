//! What does a test stand on: which namespaces and hosts, and how do they go away again?
//!
//! A lab is one namespace for the device under test (`dut`) and one for each host, joined by
//! veth pairs that are created straight into their namespaces: the machine's own interfaces
//! are never seen, and the names in them need no prefix. Everything goes when its owner is
//! dropped, also in a panic, and at SIGINT, SIGTERM and SIGHUP; what a killed run left behind is removed
//! by the next one (`sweep.rs`).

mod host;
mod namespace;
mod sweep;
mod tap;
mod vlan;
mod wire;

pub use host::{Host, HostBuilder};
pub use namespace::{Namespace, enter};
pub use tap::{Tap, VnetHeader};
pub use wire::{Wire, stay_on_cpu, stay_on_one_cpu};

use std::cell::{Cell, RefCell};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use host::Role;

/// Where labs keep their files, one folder for each.
const FOLDER: &str = "/run/sekisho-lab";

/// One device under test and what is joined to it.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    dut: Namespace,
    folder: Folder,
    hosts: Cell<u8>,
    ends: RefCell<Vec<End>>,
}

/// The far end of a cable: a host's.
#[derive(Clone, Debug)]
pub struct End {
    /// The interface at the device under test.
    pub dut_interface: String,
    /// The host's namespace.
    pub namespace: String,
    /// The interface there.
    pub link: String,
}

impl Lab {
    /// A lab with an empty device under test. Labs that live at the same time have different
    /// names.
    pub fn new(name: &str) -> Result<Self> {
        ensure!(nix::unistd::geteuid().is_root(), "a lab needs root, for network namespaces");
        sweep::clean_up_on_signals()?;
        sweep::sweep_dead();
        let prefix = format!("{}{name}", sweep::own_prefix());
        let dut = Namespace::new(&format!("{prefix}-dut"))?;
        let folder = Folder::new(Path::new(FOLDER).join(&prefix))?;
        Ok(Self { prefix, dut, folder, hosts: Cell::new(0), ends: RefCell::default() })
    }

    /// The namespace of the device under test.
    ///
    /// It forwards nothing by itself: what crosses it was let through by what the test put in.
    pub fn dut(&self) -> &Namespace {
        &self.dut
    }

    /// A tenant's host behind a veth port: everything on it at the kernel's defaults.
    pub fn host(&self, name: &str) -> HostBuilder<'_> {
        HostBuilder::new(self, name, Role::Tenant)
    }

    /// A veth that plays a NIC, and the host at the other end of its cable.
    ///
    /// Two things differ from a tenant's host, both at the far end. `gro on`: a veth takes
    /// frames that XDP redirects to it only when its peer has NAPI, which GRO (or XDP) switches
    /// on; a real NIC needs nothing of the kind. `tx off` and the VLAN offloads off: what comes
    /// off a cable has complete checksums, is no longer than the MTU, and has its tag in the
    /// frame.
    pub fn nic(&self, name: &str) -> HostBuilder<'_> {
        HostBuilder::new(self, name, Role::Nic)
    }

    /// A tap port of the device under test; the test itself is the virtual machine behind it.
    pub fn tap(&self, interface: &str) -> Result<Tap> {
        Tap::open(&self.dut, interface)
    }

    /// A folder for this lab's files.
    pub fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// A bpffs of this lab's own: it works where `/sys/fs/bpf` is not mounted, and whatever is
    /// still pinned in it goes with the lab.
    pub fn bpffs(&self) -> Result<PathBuf> {
        self.folder.bpffs()
    }

    /// A disk of this lab's own of so many bytes.
    pub fn disk(&self, bytes: u64) -> Result<PathBuf> {
        self.folder.disk(bytes)
    }

    /// The hosts that are there.
    pub fn ends(&self) -> Vec<End> {
        let mut ends = self.ends.borrow_mut();
        ends.retain(|end| sweep::netns_path(&end.namespace).exists());
        ends.clone()
    }

    fn name_of(&self, host: &str) -> String {
        format!("{}-{host}", self.prefix)
    }

    /// The default MAC address of the next host: the same in every run, and locally
    /// administered.
    fn next_mac(&self) -> String {
        let number = self.hosts.get() + 1;
        self.hosts.set(number);
        format!("02:00:00:00:00:{number:02x}")
    }
}

/// A lab's folder, with its bpffs once that was asked for.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new(path: PathBuf) -> Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("creating {}", path.display()))?;
        Ok(Self { path })
    }

    fn bpffs(&self) -> Result<PathBuf> {
        let path = self.path.join("bpf");
        if !path.exists() {
            fs::create_dir(&path)?;
            let none = None::<&str>;
            mount(none, &path, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
                .with_context(|| format!("mounting a bpffs on {}", path.display()))?;
        }
        Ok(path)
    }

    fn disk(&self, bytes: u64) -> Result<PathBuf> {
        let path = self.path.join("disk");
        fs::create_dir(&path)?;
        let size = format!("size={bytes},mode=0700");
        mount(None::<&str>, &path, Some("tmpfs"), MsFlags::empty(), Some(size.as_str()))
            .with_context(|| format!("mounting a tmpfs on {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        remove_folder(&self.path);
    }
}

/// Removes a lab's folder; what is in use is left for the next sweep.
fn remove_folder(path: &Path) {
    for mounted in ["bpf", "disk"].map(|name| path.join(name)).iter().filter(|of| of.exists()) {
        // Fails only where nothing was mounted.
        let _ = umount2(mounted, MntFlags::MNT_DETACH);
    }
    let _ = fs::remove_dir_all(path);
}
