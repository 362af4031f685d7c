//! Running the program itself, in a folder of its own.
//!
//! What it must say is each test's to know.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A trace that is as it should be.
pub(crate) const GOOD: &str = "r0 = kmalloc(0x40, GFP_KERNEL) # -> Slab\nkfree(r0)\n";

/// A trace that expects what is not so, which is an objection like any other.
pub(crate) const FAILING: &str = "r0 = kmalloc(0x40, GFP_KERNEL)\n\
                           r1 = kvmalloc(0x3000, GFP_KERNEL) # -> Vmalloc\nkfree(r0)\n";

/// A folder that is gone after the test.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder for the test"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file and the folders above it.
    pub(crate) fn file(&self, name: impl AsRef<OsStr>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name.as_ref());
        std::fs::create_dir_all(path.parent().expect("it is in the folder")).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// The program, about to run in this folder.
    pub(crate) fn kvroute<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kvroute"));
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        command
    }

    /// Runs the program.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Said {
        Said::of(self.kvroute(arguments).output().expect("it starts"))
    }

    /// Runs the program with the words of a line.
    pub(crate) fn line(&self, line: &str) -> Said {
        self.run(line.split_whitespace())
    }
}

/// What the program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}
