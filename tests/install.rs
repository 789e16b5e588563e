//! What is installed, used as a host would: the examples compiled through pkg-config and CMake, from a tree that was
//! moved, shared and static, and run.
#![allow(clippy::unwrap_used, clippy::print_stdout)]
#![cfg(all(feature = "capi", target_os = "linux"))]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use support::{is_missing, output, root, run};

const HANDOFF: &str = r#"{"pool_id":"pool-0","replica_id":"r0","url":"http://localhost:8080"}"#;
const STORY: &str = "ready pool-0 http://localhost:8080\nsynced - -\n";
const EXAMPLES: [(&str, &str); 2] = [("cc", "c/watch.c"), ("c++", "cpp/watch.cpp")];

#[test]
fn install_script() {
    if is_missing("pkg-config", "pkg-config") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let staged = dir.path().join("staged");
    let mut install = Command::new(root().join("install.sh"));
    install.env("CARGO_TARGET_DIR", target()).env("DESTDIR", &staged).env("PREFIX", "/opt/handoff");
    println!("{}", output(install.env("LIBDIR", "/opt/handoff/lib/some-arch")));
    check_tree(&staged.join("opt/handoff"), "lib/some-arch");

    // Moved: nothing in it says where it was.
    let moved = dir.path().join("moved");
    fs::rename(staged.join("opt/handoff"), &moved).unwrap();
    let prefix = Prefix { root: moved, libdir: "lib/some-arch", work: dir.path().to_owned() };
    for (compiler, source) in examples() {
        prefix.shared(compiler, source);
        prefix.linked_statically(compiler, source);
    }
    prefix.cmake();
}

/// But for their first lines, which say how to compile them.
#[test]
fn the_readme_shows_the_examples() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for (_, source) in EXAMPLES {
        let example = fs::read_to_string(root().join("examples").join(source)).unwrap();
        let (_, code) = example.split_once('\n').unwrap();
        assert!(readme.contains(code), "README.md shows something else than examples/{source}");
    }
}

/// The same from cargo-c, where it is installed: that takes minutes.
#[test]
fn cargo_c() {
    if Command::new("cargo-cinstall").arg("--version").output().is_err() {
        support::skip_even_in_ci(
            "cargo-c is missing; to have it: apt-get install libssl-dev; cargo install --locked cargo-c",
        );
        return;
    }
    if is_missing("pkg-config", "pkg-config") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path().join("prefix");
    let mut install = support::cargo(&target().join("cargo-c"));
    install.args(["cinstall", "--release", "--libdir", "lib", "--prefix"]).arg(&prefix);
    run(&mut install);
    check_tree(&prefix, "lib");
    let prefix = Prefix { root: prefix, libdir: "lib", work: dir.path().to_owned() };
    for (compiler, source) in examples() {
        prefix.shared(compiler, source);
    }
}

fn examples() -> impl Iterator<Item = (&'static str, &'static str)> {
    EXAMPLES.into_iter().filter(|(compiler, _)| !is_missing(compiler, "g++"))
}

/// Both ways to install give the same files.
fn check_tree(prefix: &Path, libdir: &str) {
    let lib = prefix.join(libdir);
    let version = env!("CARGO_PKG_VERSION");
    let real = format!("libhandoff_watcher.so.{version}");
    for link in ["libhandoff_watcher.so", "libhandoff_watcher.so.0"] {
        let library = fs::canonicalize(lib.join(link)).unwrap();
        assert_eq!(library.file_name().unwrap().to_str(), Some(&*real));
    }
    let dynamic = output(Command::new("readelf").arg("-d").arg(lib.join(&real)));
    assert!(dynamic.contains("soname: [libhandoff_watcher.so.0]") && dynamic.contains("NODELETE"), "{dynamic}");
    assert!(lib.join("libhandoff_watcher.a").exists());
    let header = fs::read(prefix.join("include/handoff_watcher.h")).unwrap();
    assert!(header == fs::read(root().join("include/handoff_watcher.h")).unwrap());
    let pc = fs::read_to_string(lib.join("pkgconfig/handoff_watcher.pc")).unwrap();
    assert!(pc.contains(&format!("\nVersion: {version}\n")) && pc.contains("Libs.private:"), "{pc}");
}

struct Prefix {
    root: PathBuf,
    libdir: &'static str,
    work: PathBuf,
}

impl Prefix {
    fn shared(&self, compiler: &str, source: &str) {
        let flags = self.pkg_config(&["--cflags", "--libs"]);
        tell(&self.compile(compiler, source, &flags, "shared"), &self.lib());
    }

    /// Without the shared library, and with nothing else to help.
    fn linked_statically(&self, compiler: &str, source: &str) {
        let flags = self.pkg_config(&["--cflags", "--libs", "--static"]);
        let flags: Vec<_> =
            flags.into_iter().map(|flag| flag.replace("-lhandoff_watcher", "-l:libhandoff_watcher.a")).collect();
        let program = self.compile(compiler, source, &flags, "static");
        let needs = output(Command::new("readelf").arg("-d").arg(&program));
        assert!(!needs.contains("handoff_watcher"), "{needs}");
        tell(&program, Path::new("/nonexistent"));
    }

    fn cmake(&self) {
        if is_missing("cmake", "cmake") {
            return;
        }
        let build = self.work.join("cmake");
        let mut configure = Command::new("cmake");
        configure.env("PKG_CONFIG_PATH", self.lib().join("pkgconfig"));
        run(configure.arg("-S").arg(root().join("examples/c")).arg("-B").arg(&build));
        run(Command::new("cmake").arg("--build").arg(&build));
        tell(&build.join("watch"), &self.lib());
    }

    fn lib(&self) -> PathBuf {
        self.root.join(self.libdir)
    }

    fn pkg_config(&self, args: &[&str]) -> Vec<String> {
        let mut command = Command::new("pkg-config");
        command.env("PKG_CONFIG_PATH", self.lib().join("pkgconfig")).args(args).arg("handoff_watcher");
        output(&mut command).split_whitespace().map(str::to_owned).collect()
    }

    fn compile(&self, compiler: &str, source: &str, flags: &[String], name: &str) -> PathBuf {
        let program = self.work.join(format!("{compiler}-{name}"));
        let source = root().join("examples").join(source);
        run(Command::new(compiler)
            .args(["-Wall", "-Wextra", "-Werror"])
            .arg(source)
            .args(flags)
            .arg("-o")
            .arg(&program));
        program
    }
}

/// Runs an example until it has told what there is to tell.
fn tell(program: &Path, libraries: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let (engines, told) = (dir.path().join("engines"), dir.path().join("told"));
    fs::create_dir(&engines).unwrap();
    fs::write(engines.join("a.json"), HANDOFF).unwrap();
    let mut command = Command::new(program);
    command.arg(&engines).env("LD_LIBRARY_PATH", libraries).stdout(fs::File::create(&told).unwrap());
    let mut child = command.spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while fs::read_to_string(&told).unwrap() != STORY {
        assert!(Instant::now() < end, "{}: {}", program.display(), fs::read_to_string(&told).unwrap());
        assert!(child.try_wait().unwrap().is_none(), "{}: it ended", program.display());
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("capi-install")
}
