package disk

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
)

func write(t testing.TB, f File, data string, at int64) {
	t.Helper()
	_, err := f.WriteAt([]byte(data), at)
	must(t, err)
}

// safe makes a file that outlives a crash.
func safe(t testing.TB, m *Mem, name, data string) File {
	t.Helper()
	f, err := m.Create(name)
	must(t, err)
	write(t, f, data, 0)
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	return f
}

func TestCrashKeepsWhatIsSafe(t *testing.T) {
	m := NewMem()
	f := safe(t, m, "/f", "old")
	write(t, f, "NEW", 0)
	_, err := m.Create("/nameless")
	must(t, err)
	must(t, m.Rename("/f", "/g"))
	outcomes := map[string]int{}
	for seed := range uint64(400) {
		c := m.Crash(seed)
		names, err := c.List("/")
		must(t, err)
		atOld, atNew := slices.Contains(names, "f"), slices.Contains(names, "g")
		if atOld == atNew {
			t.Fatalf("seed %d: a rename left %v", seed, names)
		}
		name := map[bool]string{true: "/f", false: "/g"}[atOld]
		b, err := ReadFile(c, name, 10)
		must(t, err)
		outcomes[fmt.Sprint(string(b), " ", names)]++
		again, err := m.Crash(seed).List("/")
		if must(t, err); !slices.Equal(names, again) {
			t.Fatalf("seed %d has two outcomes", seed)
		}
	}
	for _, want := range []string{"old [f]", "NEW [g nameless]", "NEW [f]", "old [g nameless]", "NEd [f]", "Nld [f]"} {
		if outcomes[want] == 0 {
			t.Errorf("%q never came out; %v", want, outcomes)
		}
	}
	if b, err := ReadFile(m, "/g", 10); string(b) != "NEW" || err != nil {
		t.Errorf("the crash of a copy changed the file: %q, %v", b, err)
	}
}

func TestCrashScattersSectors(t *testing.T) {
	m := NewMem()
	f := safe(t, m, "/f", "")
	whole := bytes.Repeat([]byte("x"), 4*sectorBytes)
	write(t, f, string(whole), 0)
	gaps := 0
	for seed := range uint64(200) {
		b, err := ReadFile(m.Crash(seed), "/f", 1<<20)
		must(t, err)
		if i := bytes.IndexByte(b, 0); i >= 0 && bytes.IndexByte(b[i:], 'x') > 0 {
			gaps++
			if i%sectorBytes != 0 {
				t.Fatalf("seed %d: a gap begins within a sector, at %d", seed, i)
			}
		}
	}
	if gaps == 0 {
		t.Error("sectors are always written in order")
	}
}

func TestSyncThatFailedIsNotMadeGoodByAnother(t *testing.T) {
	m := NewMem()
	f := safe(t, m, "/f", "old")
	write(t, f, "new", 0)
	m.Inject(Fault{Op: OpSync})
	if err := f.Sync(); !errors.Is(err, ErrInjected) {
		t.Fatal(err)
	}
	must(t, f.Sync())
	if b, _ := ReadFile(m, "/f", 10); string(b) != "new" {
		t.Errorf("until the crash it reads %q", b)
	}
	if b, _ := ReadFile(m.Clone(), "/f", 10); string(b) != "new" {
		t.Errorf("after a kill it reads %q", b)
	}
	for seed := range uint64(20) {
		if b, _ := ReadFile(m.Crash(seed), "/f", 10); string(b) != "old" {
			t.Fatalf("after the crash it reads %q", b)
		}
	}
}

func TestFaultsStrikeWhereTheyAreToldTo(t *testing.T) {
	m := NewMem()
	cause := errors.New("broken")
	m.Inject(Fault{Op: OpCreate, Path: "b*", Nth: 2, Err: cause})
	for i, name := range []string{"/b1", "/a", "/b2", "/b3"} {
		f, err := m.Create(name)
		if errors.Is(err, cause) != (i == 2) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			must(t, f.Close())
		}
	}
	if !m.Struck() || m.Count(OpCreate) != 4 || m.Count(AnyChange) != 4 {
		t.Errorf("struck %v, %d creates, %d changes", m.Struck(), m.Count(OpCreate), m.Count(AnyChange))
	}
	m.Heal()
	m.Inject(Fault{Nth: 2, Dead: true})
	f, err := m.Create("/c")
	must(t, err)
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, ErrInjected) {
		t.Errorf("the second change: %v", err)
	}
	if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, ErrInjected) {
		t.Errorf("a read after death: %v", err)
	}
	if n, err := m.Crash(1).List("/"); err != nil {
		t.Errorf("the next process is dead, too: %v, %v", n, err)
	}
}

func TestCapacityIsKept(t *testing.T) {
	m := NewMem()
	m.SetCapacity(1000)
	f := safe(t, m, "/f", "")
	must(t, f.Allocate(600))
	if err := f.Allocate(1001); !errors.Is(err, ErrNoSpace) {
		t.Errorf("Allocate = %v", err)
	}
	write(t, f, "within", 594)
	n, err := f.WriteAt(make([]byte, 500), 600)
	if n != 400 || !errors.Is(err, ErrNoSpace) || m.Used() != 1000 {
		t.Errorf("WriteAt = %d, %v; %d bytes are used", n, err, m.Used())
	}
	must(t, m.Remove("/f"))
	if m.Used() != 0 {
		t.Errorf("%d bytes are used by nothing", m.Used())
	}
}

func TestFlipChangesOneBitForGood(t *testing.T) {
	m := NewMem()
	safe(t, m, "/f", "\x00\x00")
	must(t, m.Flip("/f", 9))
	for _, fsys := range []*Mem{m, m.Crash(1), m.Clone()} {
		if b, err := ReadFile(fsys, "/f", 10); string(b) != "\x00\x02" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
	}
	if err := m.Flip("/f", 16); err == nil {
		t.Error("a bit behind the end was flipped")
	}
}

func TestWriteFileIsOldOrNew(t *testing.T) {
	for point := 1; ; point++ {
		m := NewMem()
		must(t, WriteFile(m, "/f", []byte("old")))
		m.Inject(Fault{Nth: point, Dead: true})
		err := WriteFile(m, "/f", []byte("new!"))
		for seed := range uint64(20) {
			b, e := ReadFile(m.Crash(seed), "/f", 10)
			if must(t, e); string(b) != "new!" && (string(b) != "old" || err == nil) {
				t.Fatalf("crash at operation %d, seed %d: %q", point, seed, b)
			}
		}
		if !m.Struck() {
			return
		}
	}
}

func TestExposedDirectoryIsTightenedOnce(t *testing.T) {
	m := NewMem()
	must(t, m.MkdirAll("/data"))
	m.Expose("/data")
	for _, want := range []bool{true, false} {
		if got, err := m.Secure("/data"); got != want || err != nil {
			t.Errorf("Secure = %v, %v, want %v", got, err, want)
		}
	}
}
