//! A temporary folder, and the watcher that outlives the test process.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, io::Write as _};

use crate::process;

/// Reads from a pipe whose other end only the test process holds. A line means that the owner cleaned up by itself; end
/// of file means that it is dead, so the servers in the folder are ended here and the folder is removed. A server is
/// known by a file `<name>.pid` that says which signal ends which process.
const WATCHER: &str = r#"
if read -r _; then exit; fi
for file in "$1"/*.pid; do
    [ -e "$file" ] || continue
    read -r signal pid < "$file"
    kill -CONT "$pid"; kill -"$signal" "$pid"
    tries=0
    while [ $tries -lt 100 ]; do
        case "$(cat /proc/"$pid"/stat)" in ''|*') Z '*) break ;; esac
        tries=$((tries + 1)); sleep 0.1
    done
    kill -KILL "$pid"
done
rm -rf "$1"
"#;

/// A folder that is removed when it is dropped, or when the test process dies without dropping anything.
///
/// It belongs to the user the servers run as. Statics are never dropped, so for the shared Postgres the watcher is the
/// ordinary way out and not only the emergency exit.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    watcher: Child,
}

impl Folder {
    /// Makes a folder with `name` in its name.
    ///
    /// # Panics
    /// If the temporary folder of the system does not let it.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::within(&std::env::temp_dir(), name)
    }

    /// Makes a folder with `name` in its name, in another folder than the temporary one of the system.
    ///
    /// # Panics
    /// If that folder does not let it.
    #[must_use]
    pub fn within(parent: &Path, name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = NEXT.fetch_add(1, Ordering::Relaxed);
        // Short, because the path of a Unix socket in it may have 107 bytes.
        let path = parent.join(format!("transom-{name}-{}-{unique}", std::process::id()));
        fs::create_dir(&path).expect("the temporary folder is writable");
        process::give_to_server_user(&path);
        let watcher = Command::new("sh")
            .args(["-c", WATCHER, "transom-test-watcher"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Its own group: an interrupt from the terminal must end the tests and not their watcher.
            .process_group(0)
            .spawn()
            .expect("sh is there");
        Self { path, watcher }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that the servers may read and returns its path.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join(name);
        fs::write(&path, contents).expect("the folder is ours");
        process::give_to_server_user(&path);
        path
    }

    /// Makes a folder within, for a server to write to.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn subfolder(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        fs::create_dir(&path).expect("the folder is ours and the name is new");
        process::give_to_server_user(&path);
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Best effort: a failure here must not turn a passing test into an abort.
        let _ = fs::remove_dir_all(&self.path);
        if let Some(mut stdin) = self.watcher.stdin.take() {
            let _ = stdin.write_all(b"done\n");
        }
        let _ = self.watcher.wait();
    }
}
