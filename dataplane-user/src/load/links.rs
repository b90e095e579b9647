//! What holds a program on an interface?
//!
//! A link, which is pinned: it stays when this process ends, and the pin is all that holds it.

use std::{fs, io, path::Path};

use aya::{
    Ebpf,
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType, XdpMode,
        links::{FdLink, LinkError, PinnedLink},
        tc::TcAttachOptions,
    },
    sys::SyscallError,
};

use super::{
    Error,
    attach::Attaching,
    attachment::Attach,
    interface::Interface,
    maps,
    place::Place,
    programs::{self, DELIVER, TC, XDP},
};

/// What holds a program on an interface, as named in the pin folder.
const LINKS: [(&str, &str); 3] = [("xdp", XDP), ("tcx", TC), ("deliver", DELIVER)];

impl Attaching<'_> {
    /// XDP, and at tcx what delivers by it.
    pub(super) fn xdp(&mut self, attach: &Attach, index: u32) -> Result<(), Error> {
        let interface = attach.interface.clone();
        let wanted_by = attach.wanted_by.clone();
        self.tcx(attach, DELIVER, "deliver")?;
        let program = programs::xdp(self.ebpf, XDP)?;
        let link = match program.attach_to_if_index(index, XdpMode::Driver) {
            Ok(id) => program.take_link(id),
            Err(error) => Err(error),
        };
        let link = match link {
            Ok(link) => link,
            Err(error) => {
                unlink(self.place, &interface, "deliver")?;
                return Err(xdp_refused(attach, error));
            }
        };
        // Without a link of the kernel's own (before Linux 5.9) nothing would outlive us.
        let link = FdLink::try_from(link).map_err(|source| Error::Link {
            interface: interface.clone(),
            wanted_by: wanted_by.clone(),
            program: XDP,
            source,
        })?;
        self.nics.insert(index, index, None, 0).map_err(|error| {
            attach.refused(maps::NICS, ProgramError::IOError(io::Error::other(error)))
        })?;
        link.pin(self.place.link(&interface, "xdp")).map_err(|source| Error::PinLink {
            interface,
            wanted_by,
            program: XDP,
            source,
        })?;
        Ok(())
    }

    /// At tcx.
    pub(super) fn tcx(
        &mut self,
        attach: &Attach,
        name: &'static str,
        hook: &str,
    ) -> Result<(), Error> {
        let interface = attach.interface.clone();
        let wanted_by = attach.wanted_by.clone();
        let program = programs::tc(self.ebpf, name)?;
        // Before whoever else is there, who would see our packets undecided.
        let options = TcAttachOptions::TcxOrder(LinkOrder::first());
        let link = program
            .attach_with_options(&interface, TcAttachType::Ingress, options)
            .and_then(|id| program.take_link(id))
            .map_err(|error| attach.refused(name, error))?;
        let link = FdLink::try_from(link).map_err(|source| Error::Link {
            interface: interface.clone(),
            wanted_by: wanted_by.clone(),
            program: name,
            source,
        })?;
        link.pin(self.place.link(&interface, hook)).map_err(|source| Error::PinLink {
            interface,
            wanted_by,
            program: name,
            source,
        })?;
        Ok(())
    }
}

/// Has another sekisho its program on the interface? A kernel that cannot tell has none.
pub(super) fn is_guarded(interface: &str) -> bool {
    let query = SchedClassifier::query_tcx(interface, TcAttachType::Ingress);
    let own = [TC, DELIVER].map(|name| &name.as_bytes()[..name.len().min(KERNEL_NAME_BYTES_MAX)]);
    query.is_ok_and(|(_, found)| found.iter().any(|program| own.contains(&program.name())))
}

/// Is the program of this number at the hook of the interface?
pub(super) fn has_program(interface: &Interface, hook: &str, id: u32) -> bool {
    if hook == "xdp" {
        return interface.xdp_program == Some(id);
    }
    let query = SchedClassifier::query_tcx(&interface.name, TcAttachType::Ingress);
    query.is_ok_and(|(_, found)| found.iter().any(|program| program.id() == id))
}

/// BPF_OBJ_NAME_LEN without its closing zero (linux/bpf.h).
const KERNEL_NAME_BYTES_MAX: usize = 15;

/// Takes a program off an interface: the pin is all that holds it there. Of a pin that is
/// removed the kernel lets go when it finds the time; who has the link open lets go by closing
/// it (`bpf_link_put` and `bpf_link_put_direct` in kernel/bpf/syscall.c).
pub(super) fn unlink(place: &Place, interface: &str, hook: &str) -> Result<bool, Error> {
    let path = place.link(interface, hook);
    let link = PinnedLink::from_pin(&path);
    match fs::remove_file(&path) {
        Ok(()) => {
            drop(link);
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::File { path, source }),
    }
}

fn xdp_refused(attach: &Attach, error: ProgramError) -> Error {
    const EBUSY: i32 = 16;
    let interface = attach.interface.clone();
    let wanted_by = attach.wanted_by.clone();
    if let ProgramError::SyscallError(SyscallError { io_error: source, .. }) = error {
        if source.raw_os_error() == Some(EBUSY) {
            Error::XdpInUse { interface, wanted_by, id: None }
        } else {
            Error::XdpRefused { interface, wanted_by, source }
        }
    } else if let ProgramError::XdpError(error) = error {
        Error::XdpRefused { interface, wanted_by, source: io::Error::other(error) }
    } else {
        attach.refused(XDP, error)
    }
}

/// Gives every attached interface the programs of this generation, without a packet
/// between the old and the new.
pub(super) fn renew(place: &Place, ebpf: &mut Ebpf) -> Result<(), Error> {
    let folder = place.links();
    for entry in fs::read_dir(&folder).map_err(Error::file(&folder))? {
        let path = entry.map_err(Error::file(&folder))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let Some((interface, hook)) = name.as_deref().and_then(|name| name.rsplit_once('-')) else {
            continue;
        };
        let Some((_, program)) = LINKS.into_iter().find(|&(known, _)| known == hook) else {
            continue;
        };
        renew_one(ebpf, &path, interface, program)?;
    }
    Ok(())
}

fn renew_one(
    ebpf: &mut Ebpf,
    path: &Path,
    interface: &str,
    program: &'static str,
) -> Result<(), Error> {
    const ENOLINK: i32 = 67;
    let interface = interface.to_owned();
    let wanted_by = "what is attached".to_owned();
    let link: Result<FdLink, LinkError> = PinnedLink::from_pin(path).map(Into::into);
    let renewed = if program == XDP {
        let own = programs::xdp(ebpf, program)?;
        link.and_then(TryInto::try_into)
            .map(|link| own.attach_to_link(link).and_then(|id| own.take_link(id)).map(drop))
    } else {
        let own = programs::tc(ebpf, program)?;
        link.and_then(TryInto::try_into)
            .map(|link| own.attach_to_link(link).and_then(|id| own.take_link(id)).map(drop))
    };
    match renewed {
        Ok(Ok(())) => Ok(()),
        // The interface is gone. The pin stays as long as it is remembered, and tells so.
        Ok(Err(ProgramError::SyscallError(error)))
            if error.io_error.raw_os_error() == Some(ENOLINK) =>
        {
            Ok(())
        }
        Ok(Err(error)) => {
            Err(Error::Attach { interface, wanted_by, program, source: Box::new(error) })
        }
        Err(source) => Err(Error::Link { interface, wanted_by, program, source }),
    }
}
