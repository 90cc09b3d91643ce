package disk

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func writing(name string) func(string) (*os.File, error) {
	return func(string) (*os.File, error) { return os.OpenFile(name, os.O_WRONLY, 0) }
}

// A write past the cache is given up for another way when the system refuses it, for good or because the disk is full,
// and only then.
func TestDirectWritesFallBack(t *testing.T) {
	for _, c := range []struct {
		name    string
		open    func(name string) (*os.File, error) // what is written to in place of the file
		want    error
		refused bool
	}{
		{"refused", writing("/proc/self/oom_score_adj"), nil, true}, // EINVAL for what is no number
		{"full", writing("/dev/full"), nil, false},                  // ENOSPC
		{"failed", os.Open, unix.EBADF, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "f")
			file, err := OS{}.Create(name)
			must(t, err)
			f := file.(*osFile)
			f.direct.file, err = c.open(name)
			must(t, err)
			p := bytes.Repeat([]byte("x"), 512)
			if err := f.WriteSync(p, 0); !errors.Is(err, c.want) {
				t.Errorf("WriteSync = %v, want %v", err, c.want)
			}
			if f.direct.refused != c.refused {
				t.Errorf("given up for good: %v, want %v", f.direct.refused, c.refused)
			}
			if b, err := os.ReadFile(name); c.want == nil && (err != nil || !bytes.Equal(b, p)) {
				t.Errorf("read %q, %v", b, err)
			}
			must(t, f.Close())
		})
	}
}

// What is safe when WriteSync returns is so by the flags of the open file.
func TestDirectWritesWaitForTheDisk(t *testing.T) {
	file, err := OS{}.Create(filepath.Join(t.TempDir(), "f"))
	must(t, err)
	f := file.(*osFile)
	defer f.Close()
	must(t, f.Allocate(8192))
	must(t, f.WriteSync(make([]byte, 1024), 512))
	if f.direct.refused {
		t.Skip("the file system of TMPDIR does not take direct writes")
	}
	const want = unix.O_DIRECT | unix.O_DSYNC | unix.O_WRONLY
	if flags, err := unix.FcntlInt(f.direct.file.Fd(), unix.F_GETFL, 0); err != nil || flags&want != want {
		t.Errorf("the flags are %#x, %v", flags, err)
	}
	for _, p := range [][]byte{make([]byte, 511), make([]byte, directMax+512)} {
		if done, err := f.direct.write(f.f, p, 0); done || err != nil {
			t.Errorf("a direct write of %d bytes: %v, %v", len(p), done, err)
		}
	}
}
