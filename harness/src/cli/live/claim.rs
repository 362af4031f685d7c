//! One at a time has the module: who sets its plan locks a file of its, for as long as the plan is
//! to be set back.
//!
//! A lock ends with its last holder, whatever happens to that one.

use std::fs::File;
use std::path::Path;

/// Locks an open file for us.
///
/// # Errors
/// Another has it; who, as far as it can be seen.
#[cfg(unix)]
pub(super) fn claim(file: &File) -> Result<(), String> {
    use rustix::fs::{FlockOperation, flock};
    use rustix::io::Errno;
    flock(file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        Errno::WOULDBLOCK => {
            let who = holder(file, Path::new("/proc")).unwrap_or_default();
            format!("another kvroute live run or shrink has the module{who}")
        }
        error => format!("it cannot be locked: {error}"),
    })
}

/// There is no such module elsewhere.
#[cfg(not(unix))]
pub(super) fn claim(_file: &File) -> Result<(), String> {
    Ok(())
}

/// The process that locked it, as `/proc` tells.
#[cfg(unix)]
fn holder(file: &File, proc: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let found = file.metadata().ok()?;
    let (major, minor) = (rustix::fs::major(found.dev()), rustix::fs::minor(found.dev()));
    let place = format!("{major:02x}:{minor:02x}:{}", found.ino());
    let locks = std::fs::read_to_string(proc.join("locks")).ok()?;
    let process =
        locks.lines().find_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [_, "FLOCK", _, _, process, at, ..] if at == place => Some(process.to_owned()),
            _ => None,
        })?;
    let words = std::fs::read(proc.join(&process).join("cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&words).trim_end_matches('\0').replace('\0', " ");
    Some(match command.is_empty() {
        true => format!(": process {process}, which has ended, and whose plan is being set back"),
        false => format!(": process {process}, {command}"),
    })
}

#[cfg(all(test, unix))]
mod test {
    use super::*;

    #[test]
    fn one_has_it_and_the_other_is_told_who() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stats");
        std::fs::write(&path, "").unwrap();
        let [ours, theirs] = [File::open(&path).unwrap(), File::open(&path).unwrap()];
        assert_eq!(claim(&theirs), Ok(()));
        let told = claim(&ours).unwrap_err();
        assert!(told.starts_with("another kvroute live run or shrink has the module"), "{told}");
        // It stays locked for who was given it.
        let given = theirs.try_clone().unwrap();
        drop(theirs);
        assert!(claim(&ours).is_err());
        drop(given);
        assert_eq!(claim(&ours), Ok(()));
    }

    #[test]
    fn who_has_it_is_found_among_others() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::open(folder.path()).unwrap();
        let found = std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap());
        let dev = std::os::unix::fs::MetadataExt::dev(&file.metadata().unwrap());
        let (major, minor) = (rustix::fs::major(dev), rustix::fs::minor(dev));
        let locks = format!(
            "1: POSIX  ADVISORY  WRITE 1 {major:02x}:{minor:02x}:{found} 0 EOF\n\
             2: FLOCK  ADVISORY  WRITE 22 ff:00:{found} 0 EOF\n\
             3: FLOCK  ADVISORY  WRITE 333 {major:02x}:{minor:02x}:{found} 0 EOF\n"
        );
        std::fs::write(folder.path().join("locks"), locks).unwrap();
        let told = holder(&file, folder.path()).unwrap();
        assert_eq!(told, ": process 333, which has ended, and whose plan is being set back");
        std::fs::create_dir(folder.path().join("333")).unwrap();
        std::fs::write(folder.path().join("333/cmdline"), "kvroute\0live\0run\0").unwrap();
        assert_eq!(holder(&file, folder.path()).unwrap(), ": process 333, kvroute live run");
    }
}
