package snap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"canopy/internal/disk"
)

// random returns n bytes that compress to about a half. The same seed gives the same bytes.
func random(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.IntN(16)) + 'a'
	}
	return b
}

func content(b []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	}
}

func load(d *Dir, m Meta) (got []byte, err error) {
	err = d.Load(m, func(r io.Reader) (err error) {
		got, err = io.ReadAll(r)
		return err
	})
	return got, err
}

func open(t testing.TB, m *disk.Mem) *Dir {
	t.Helper()
	d, err := Open(m, "/snap", Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func save(t testing.TB, d *Dir, m Meta, b []byte) {
	t.Helper()
	if err := d.Save(m, content(b)); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsSavedIsLoaded(t *testing.T) {
	for _, size := range []int{0, 1, 100, blockBytesMax, 5 << 20} {
		d := open(t, disk.NewMem())
		want := random(1, size)
		save(t, d, Meta{2, 3}, want)
		got, err := load(d, Meta{2, 3})
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("a snapshot of %d bytes came back as %d bytes, %v", size, len(got), err)
		}
	}
}

func TestNewestComesFirstAndPurgeKeepsIt(t *testing.T) {
	m := disk.NewMem()
	d := open(t, m)
	for _, meta := range []Meta{{1, 10}, {3, 7}, {2, 300}, {2, 10}} {
		save(t, d, meta, []byte("x"))
	}
	if err := disk.WriteFile(m, "/snap/notes.txt", []byte("left alone")); err != nil {
		t.Fatal(err)
	}
	got, err := d.List()
	want := []Meta{{2, 300}, {2, 10}, {1, 10}, {3, 7}}
	if err != nil || !cmp.Equal(got, want) {
		t.Fatalf("List() = %v, %v, want %v", got, err, want)
	}
	removed, err := d.Purge(2)
	if want := []Meta{{3, 7}, {1, 10}}; err != nil || !cmp.Equal(removed, want) {
		t.Errorf("Purge(2) = %v, %v, want %v", removed, err, want)
	}
	if removed, err := d.Purge(0); err != nil || len(removed) != 1 {
		t.Errorf("Purge(0) = %v, %v; the newest is to stay", removed, err)
	}
}

func TestQuarantinedSnapshotIsNotListed(t *testing.T) {
	m := disk.NewMem()
	d := open(t, m)
	save(t, d, Meta{1, 1}, []byte("old"))
	save(t, d, Meta{1, 2}, []byte("new"))
	if err := d.Quarantine(Meta{1, 2}); err != nil {
		t.Fatal(err)
	}
	if got, _ := d.List(); !cmp.Equal(got, []Meta{{1, 1}}) {
		t.Errorf("List() = %v", got)
	}
	if _, err := m.Stat("/snap/0000000000000001-0000000000000002.snap.broken"); err != nil {
		t.Error(err)
	}
	if _, err := load(d, Meta{1, 2}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("loading what was put aside: %v", err)
	}
}

func TestErrorOfTheWriterLeavesNothing(t *testing.T) {
	m := disk.NewMem()
	d := open(t, m)
	cause := fmt.Errorf("no more")
	err := d.Save(Meta{1, 1}, func(w io.Writer) error {
		if _, err := w.Write(random(1, 3<<20)); err != nil {
			return err
		}
		return cause
	})
	if !errors.Is(err, cause) {
		t.Errorf("Save = %v", err)
	}
	if names, _ := m.List("/snap"); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
}

func TestWhoReadsBackMayTakeItsTime(t *testing.T) {
	want := random(1, 3<<20)
	var got []byte
	cause := errors.New("no time")
	for _, c := range []struct {
		name string
		read func(io.Reader) error
		want error
	}{
		{"all", func(r io.Reader) (err error) { got, err = io.ReadAll(r); return err }, nil},
		{"a part", func(r io.Reader) error { _, err := io.CopyN(io.Discard, r, 1000); return err }, nil},
		{"none", func(io.Reader) error { return cause }, cause},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := disk.NewMem()
			d := open(t, m)
			if err := d.SavePaced(Meta{1, 1}, content(want), c.read); !errors.Is(err, c.want) {
				t.Fatalf("SavePaced = %v", err)
			}
			names, err := m.List("/snap")
			if err != nil || (len(names) == 1) != (c.want == nil) {
				t.Errorf("there are %v, %v", names, err)
			}
		})
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes were read back, and they are not those saved", len(got))
	}
}

// TestWhatCannotBeUsedIsPutAside: a snapshot that its owner cannot use gets no name, whether it was saved or imported. The
// newest few of these files are kept, and good snapshots stay.
func TestWhatCannotBeUsedIsPutAside(t *testing.T) {
	m := disk.NewMem()
	d := open(t, m)
	save(t, d, Meta{1, 1}, []byte("good"))
	useless := func(io.Reader) error { return fmt.Errorf("no state: %w", ErrUnusable) }
	if err := d.SavePaced(Meta{1, 2}, content([]byte("bad")), useless); !errors.Is(err, ErrUnusable) {
		t.Fatalf("SavePaced = %v", err)
	}
	for index := uint64(3); index < 6; index++ {
		from := open(t, disk.NewMem())
		save(t, from, Meta{1, index}, []byte("bad"))
		if err := d.Import(Meta{1, index}, bytes.NewReader(exported(t, from, Meta{1, index})), useless); !errors.Is(err, ErrUnusable) {
			t.Fatalf("Import = %v", err)
		}
	}
	want := []string{
		"0000000000000001-0000000000000001.snap",
		"0000000000000001-0000000000000004.snap.broken",
		"0000000000000001-0000000000000005.snap.broken",
	}
	if names, err := m.List("/snap"); err != nil || !cmp.Equal(names, want) {
		t.Errorf("there are %v, %v, want %v", names, err, want)
	}
}
