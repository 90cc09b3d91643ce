package disk

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
)

// both runs a test on the real file system and on the one in memory: they must agree on what FS says.
func both(t *testing.T, test func(t *testing.T, f FS, dir string)) {
	t.Run("OS", func(t *testing.T) { test(t, OS{}, t.TempDir()) })
	t.Run("Mem", func(t *testing.T) { test(t, NewMem(), "/") })
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreWhatWasWritten(t *testing.T) {
	both(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "f")
		f, err := fsys.Create(name)
		must(t, err)
		_, err = f.WriteAt([]byte("hello"), 5000)
		must(t, err)
		must(t, f.Allocate(9000))
		must(t, f.Allocate(100)) // never shrinks
		must(t, f.Sync())
		b, err := ReadFile(fsys, name, 9000)
		want := slices.Concat(make([]byte, 5000), []byte("hello"), make([]byte, 3995))
		if err != nil || !bytes.Equal(b, want) {
			t.Errorf("read %d bytes, %v", len(b), err)
		}
		must(t, f.Truncate(5002))
		must(t, f.Truncate(5010))
		b, err = ReadFile(fsys, name, 9000)
		if want := append(make([]byte, 5000), "he\x00\x00\x00\x00\x00\x00\x00\x00"...); err != nil || !bytes.Equal(b, want) {
			t.Errorf("after Truncate: %q, %v", b[5000:], err)
		}
		must(t, f.Close())
		if _, err := ReadFile(fsys, name, 5009); err == nil {
			t.Error("ReadFile read more than its limit")
		}
		if i, err := fsys.Stat(name); err != nil || i != (Info{Size: 5010}) {
			t.Errorf("Stat = %+v, %v", i, err)
		}
		f, err = fsys.Create(name)
		must(t, err)
		if n, err := f.Size(); n != 0 || err != nil {
			t.Errorf("Create of a file that is there leaves %d bytes, %v", n, err)
		}
		must(t, f.Close())
	})
}

func TestWritesWithASyncAreReadBack(t *testing.T) {
	both(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "f")
		f, err := fsys.Create(name)
		must(t, err)
		must(t, f.Allocate(3<<20))
		want := make([]byte, 3<<20)
		for i, w := range []struct{ at, length int }{
			{0, 512}, {512, 1024}, {1536, 4096}, {8192, 1}, {8193, 511}, {8704, 512}, {9000, 1000}, {1 << 20, 1<<20 + 512}, {2<<20 + 512, 512}, {1024, 512},
		} {
			p := bytes.Repeat([]byte{byte(i + 1)}, w.length)
			must(t, f.WriteSync(p, int64(w.at)))
			copy(want[w.at:], p)
			_, err := f.WriteAt([]byte("between"), int64(w.at+w.length+3))
			must(t, err)
			copy(want[w.at+w.length+3:], "between")
		}
		must(t, f.Sync())
		for _, named := range []string{name, name + "2"} {
			if b, err := ReadFile(fsys, named, 3<<20); err != nil || !bytes.Equal(b, want) {
				t.Errorf("%s: read %d bytes, %v, and they are not those written", named, len(b), err)
			}
			if named == name {
				must(t, fsys.Rename(name, name+"2"))
				must(t, f.WriteSync(bytes.Repeat([]byte("moved..."), 64), 512))
				copy(want[512:], bytes.Repeat([]byte("moved..."), 64))
			}
		}
		must(t, f.Close())
		if err := f.WriteSync(make([]byte, 512), 0); err == nil {
			t.Error("WriteSync to a closed file worked")
		}
	})
}

func TestNamesAreMadeMovedAndRemoved(t *testing.T) {
	both(t, func(t *testing.T, fsys FS, dir string) {
		deep := filepath.Join(dir, "a", "b", "c")
		must(t, fsys.MkdirAll(deep))
		must(t, fsys.MkdirAll(deep))
		for _, name := range []string{"two", "one"} {
			must(t, WriteFile(fsys, filepath.Join(deep, name), []byte(name)))
		}
		must(t, fsys.Rename(filepath.Join(deep, "one"), filepath.Join(deep, "two")))
		if names, err := fsys.List(deep); err != nil || !slices.Equal(names, []string{"two"}) {
			t.Errorf("List = %v, %v", names, err)
		}
		if b, err := ReadFile(fsys, filepath.Join(deep, "two"), 10); string(b) != "one" || err != nil {
			t.Errorf("the renamed file holds %q, %v", b, err)
		}
		if err := fsys.Remove(deep); err == nil {
			t.Error("a directory with a file in it was removed")
		}
		must(t, fsys.Remove(filepath.Join(deep, "two")))
		must(t, fsys.Remove(deep))
		must(t, fsys.SyncDir(filepath.Join(dir, "a", "b")))
	})
}

func TestMissingFilesAreSaidToBeMissing(t *testing.T) {
	both(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "no", "such")
		_, create := fsys.Create(name)
		_, open := fsys.Open(name)
		_, list := fsys.List(name)
		_, stat := fsys.Stat(name)
		_, secure := fsys.Secure(name)
		_, lock := fsys.Lock(name)
		for call, err := range map[string]error{"Create": create, "Open": open, "List": list, "Stat": stat, "Lock": lock,
			"Secure": secure, "Rename": fsys.Rename(name, name+"2"), "Remove": fsys.Remove(name), "SyncDir": fsys.SyncDir(name)} {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s = %v", call, err)
			}
		}
	})
}

func TestLockKeepsOthersOut(t *testing.T) { // B7
	both(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "lock")
		l, err := fsys.Lock(name)
		must(t, err)
		_, err = fsys.Lock(name)
		var locked *LockedError
		if !errors.As(err, &locked) || !errors.Is(err, ErrLocked) || locked.Path != name {
			t.Fatalf("a second Lock = %v", err)
		}
		if _, real := fsys.(OS); real && runtime.GOOS == "linux" && locked.PID != os.Getpid() {
			t.Errorf("the holder is said to be %d, want %d", locked.PID, os.Getpid())
		}
		must(t, l.Close())
		l, err = fsys.Lock(name)
		must(t, err)
		must(t, l.Close())
	})
}

// TestLockEndsWithItsProcess runs this test once more as another process, which takes the lock and is killed.
func TestLockEndsWithItsProcess(t *testing.T) {
	const variable = "DISK_TEST_LOCK"
	if name := os.Getenv(variable); name != "" {
		_, err := OS{}.Lock(name)
		must(t, err)
		_, _ = os.Stdout.WriteString("locked\n")
		_, _ = os.Stdin.Read(make([]byte, 1)) // until killed
		return
	}
	name := filepath.Join(t.TempDir(), "lock")
	other := exec.Command(os.Args[0], "-test.run=^TestLockEndsWithItsProcess$")
	other.Env = append(os.Environ(), variable+"="+name)
	in, err := other.StdinPipe()
	must(t, err)
	defer in.Close()
	out, err := other.StdoutPipe()
	must(t, err)
	must(t, other.Start())
	_, err = out.Read(make([]byte, 1))
	must(t, err)
	_, err = OS{}.Lock(name)
	var locked *LockedError
	if !errors.As(err, &locked) || locked.PID != other.Process.Pid {
		t.Errorf("Lock = %v, want one held by %d", err, other.Process.Pid)
	}
	if want := "process " + strconv.Itoa(other.Process.Pid); err != nil && !bytes.Contains([]byte(err.Error()), []byte(want)) {
		t.Errorf("%q does not say %q", err, want)
	}
	must(t, other.Process.Kill())
	_ = other.Wait()
	l, err := OS{}.Lock(name)
	must(t, err)
	must(t, l.Close())
}

func TestEverythingIsForTheOwnerOnly(t *testing.T) { // B2
	dir := filepath.Join(t.TempDir(), "data", "member")
	o := OS{}
	must(t, o.MkdirAll(dir))
	must(t, WriteFile(o, filepath.Join(dir, "f"), nil))
	l, err := o.Lock(filepath.Join(dir, "lock"))
	must(t, err)
	must(t, l.Close())
	for name, want := range map[string]fs.FileMode{"": 0o700, "f": 0o600, "lock": 0o600, "..": 0o700} {
		i, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		if i.Mode().Perm() != want {
			t.Errorf("%q has mode %04o, want %04o", name, i.Mode().Perm(), want)
		}
	}
}

func TestOpenDirectoryIsTightened(t *testing.T) { // R18
	dir := t.TempDir()
	for mode, want := range map[fs.FileMode]fs.FileMode{0o777: 0o700, 0o750: 0o700, 0o705: 0o700, 0o700: 0o700, 0o500: 0o500} {
		must(t, os.Chmod(dir, mode))
		tightened, err := OS{}.Secure(dir)
		must(t, err)
		i, err := os.Stat(dir)
		must(t, err)
		if i.Mode().Perm() != want || tightened != (mode != want) {
			t.Errorf("mode %04o became %04o (said to be tightened: %v), want %04o", mode, i.Mode().Perm(), tightened, want)
		}
	}
	must(t, os.Chmod(dir, 0o700))
}

func TestZerosReserveRoomWhereTheSystemCannot(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	must(t, err)
	defer f.Close()
	_, err = f.WriteString("kept")
	must(t, err)
	must(t, fillZero(f, 3<<20))
	must(t, fillZero(f, 10))
	b, err := os.ReadFile(f.Name())
	if err != nil || len(b) != 3<<20 || string(b[:5]) != "kept\x00" {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func TestFullDiskIsRecognised(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // /dev/full is Linux's
	}
	f, err := OS{}.Open("/dev/full")
	must(t, err)
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, ErrNoSpace) {
		t.Errorf("WriteAt = %v", err)
	}
}
