package disk

import (
	"errors"
	"testing"
)

// steps does everything that an FS can do, once; it ends at the first error.
func steps(fsys FS) error {
	if err := fsys.MkdirAll("/d"); err != nil {
		return err
	}
	lock, err := fsys.Lock("/d/lock")
	if err != nil {
		return err
	}
	defer lock.Close()
	f, err := fsys.Create("/d/a")
	if err != nil {
		return err
	}
	_, write := f.WriteAt([]byte("abc"), 0)
	_, read := f.ReadAt(make([]byte, 3), 0)
	_, size := f.Size()
	if err := errors.Join(f.Allocate(1<<10), write, read, size, f.WriteSync([]byte("d"), 3), f.Truncate(2), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := errors.Join(fsys.Rename("/d/a", "/d/b"), fsys.SyncDir("/d")); err != nil {
		return err
	}
	f, err = fsys.Open("/d/b")
	if err != nil {
		return err
	}
	_, list := fsys.List("/d")
	_, stat := fsys.Stat("/d/b")
	_, secure := fsys.Secure("/d")
	return errors.Join(f.Close(), list, stat, secure, fsys.Remove("/d/b"))
}

// Whatever lacks a descriptor or memory for a moment is done in the end; a failed sync of a file is not done again.
func TestWhatIsLackedIsWaitedFor(t *testing.T) {
	for op := OpCreate; op < opCount; op++ {
		if op == OpSync {
			continue
		}
		m := NewMem()
		m.Inject(Fault{Op: op, Nth: 1, Err: ErrScarce})
		m.Inject(Fault{Op: op, Nth: 2, Err: ErrScarce})
		waits := 0
		err := steps(Patient{FS: m, Wait: func(err error) bool {
			waits++
			return errors.Is(err, ErrScarce)
		}})
		if err != nil || waits == 0 {
			t.Errorf("%s is lacked: %v, after %d waits", op, err, waits)
		}
	}
}

func TestWhoGivesUpIsToldWhatIsLacked(t *testing.T) {
	m := NewMem()
	m.Inject(Fault{Op: OpOpen, Err: ErrScarce})
	if err := steps(Patient{FS: m, Wait: func(error) bool { return false }}); !errors.Is(err, ErrScarce) {
		t.Errorf("error %v, want what is lacked", err)
	}
	m = NewMem()
	m.Inject(Fault{Op: OpSync})
	if err := steps(Patient{FS: m, Wait: func(error) bool { return true }}); !errors.Is(err, ErrInjected) {
		t.Errorf("a failed sync: %v, want its error", err)
	}
}
