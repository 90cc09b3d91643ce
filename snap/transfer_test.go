package snap

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sync/errgroup"

	"canopy/internal/disk"
)

// exported is the bytes of a snapshot that Export returns.
func exported(t *testing.T, d *Dir, m Meta) []byte {
	t.Helper()
	var b bytes.Buffer
	err := d.Export(m, func(file io.Reader, size int64) error {
		n, err := b.ReadFrom(file)
		if n != size {
			t.Errorf("Export said %d bytes and gave %d", size, n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWhatIsExportedCanBeImported(t *testing.T) {
	for _, size := range []int{0, 100, 5 << 20} {
		meta, want := Meta{2, 9}, random(1, size)
		from, to := open(t, disk.NewMem()), open(t, disk.NewMem())
		save(t, from, meta, want)
		if err := to.Import(meta, iotest.OneByteReader(bytes.NewReader(exported(t, from, meta))), readNothing); err != nil {
			t.Fatal(err)
		}
		if got, err := load(to, meta); err != nil || !bytes.Equal(got, want) {
			t.Errorf("a snapshot of %d bytes arrived as %d bytes, %v", size, len(got), err)
		}
	}
}

// An import that fails leaves no file, and does not change other snapshots.
func TestDamagedImportsLeaveNothing(t *testing.T) {
	meta, old := Meta{2, 9}, Meta{1, 3}
	from := open(t, disk.NewMem())
	save(t, from, meta, random(1, 3000))
	whole := exported(t, from, meta)
	m := disk.NewMem()
	d := open(t, m)
	save(t, d, old, []byte("old"))
	used := m.Used()
	refused := func(what string, file io.Reader, is func(error) bool) {
		t.Helper()
		if err := d.Import(meta, file, readNothing); !is(err) {
			t.Fatalf("%s: Import = %v", what, err)
		}
		if metas, err := d.List(); err != nil || len(metas) != 1 || metas[0] != old || m.Used() != used {
			t.Fatalf("%s: it left %v, %v, %d bytes more", what, metas, err, m.Used()-used)
		}
	}
	corrupt := func(err error) bool { return errors.As(err, new(*CorruptError)) }
	for n := 0; n < len(whole); n += 5 {
		refused("cut short", bytes.NewReader(whole[:n]), corrupt)
		flipped := bytes.Clone(whole)
		flipped[n] ^= 4
		refused("flipped", bytes.NewReader(flipped), func(err error) bool { return corrupt(err) || errors.Is(err, ErrNewerFormat) })
	}
	refused("longer", bytes.NewReader(append(bytes.Clone(whole), 0)), corrupt)
	broken := errors.New("connection lost")
	refused("interrupted", io.MultiReader(bytes.NewReader(whole[:100]), iotest.ErrReader(broken)),
		func(err error) bool { return errors.Is(err, broken) })
	m.SetCapacity(used + 100)
	refused("full disk", bytes.NewReader(whole), func(err error) bool { return errors.Is(err, disk.ErrNoSpace) })
}

func TestAnImportThatACrashCutIsRemoved(t *testing.T) {
	meta := Meta{2, 9}
	from := open(t, disk.NewMem())
	save(t, from, meta, random(1, 3000))
	m := disk.NewMem()
	d := open(t, m)
	m.Inject(disk.Fault{Op: disk.OpRename, Nth: 1})
	if err := d.Import(meta, bytes.NewReader(exported(t, from, meta)), readNothing); err == nil {
		t.Fatal("the fault did not strike")
	}
	after := m.Crash(1)
	if metas, err := open(t, after).List(); err != nil || len(metas) != 0 || after.Used() != 0 {
		t.Errorf("after a crash there are %v, %v, and %d bytes", metas, err, after.Used())
	}
}

// TestOldSnapshotsOutliveAFailedImport makes each operation of Import fail, and cuts the power there.
func TestOldSnapshotsOutliveAFailedImport(t *testing.T) {
	old, fresh := random(1, 5000), random(2, 1<<20)
	from := open(t, disk.NewMem())
	save(t, from, Meta{1, 2}, fresh)
	body := exported(t, from, Meta{1, 2})
	for point := 1; ; point++ {
		m := disk.NewMem()
		d := open(t, m)
		save(t, d, Meta{1, 1}, old)
		m.Inject(disk.Fault{Nth: point, Dead: point%2 == 0})
		err := d.Import(Meta{1, 2}, bytes.NewReader(body), readNothing)
		if !m.Struck() {
			return
		}
		if !errors.Is(err, disk.ErrInjected) {
			t.Fatalf("operation %d failed, and Import says %v", point, err)
		}
		after := []*disk.Mem{m.Crash(1), m.Crash(2), m.Crash(3), m.Clone()}
		if point%2 == 1 {
			m.Heal()
			after = append(after, m)
		}
		for i, fsys := range after {
			d := open(t, fsys)
			if got, err := load(d, Meta{1, 1}); err != nil || !bytes.Equal(got, old) {
				t.Fatalf("operation %d failed, fate %d: the old snapshot has %d bytes, %v", point, i, len(got), err)
			}
			if got, err := load(d, Meta{1, 2}); err == nil && !bytes.Equal(got, fresh) {
				t.Fatalf("operation %d failed, fate %d: the new snapshot is listed with %d bytes", point, i, len(got))
			}
			if names, _ := fsys.List("/snap"); len(names) > 2 || strings.Contains(strings.Join(names, " "), importSuffix) {
				t.Fatalf("operation %d failed, fate %d: it left %v", point, i, names)
			}
		}
	}
}

// TestImportsRunBesideEverything looks for data races and equal file names.
func TestImportsRunBesideEverything(t *testing.T) {
	from, d := open(t, disk.NewMem()), open(t, disk.NewMem())
	save(t, from, Meta{1, 100}, random(1, 100_000))
	body := exported(t, from, Meta{1, 100})
	var group errgroup.Group
	for range 3 {
		group.Go(func() error { return d.Import(Meta{1, 100}, bytes.NewReader(body), readNothing) })
		group.Go(func() error {
			err := d.Export(Meta{1, 100}, func(r io.Reader, size int64) error {
				b, err := io.ReadAll(r)
				if !bytes.Equal(b, body) || size != int64(len(body)) {
					t.Errorf("exported %d of %d bytes", len(b), size)
				}
				return err
			})
			if errors.Is(err, fs.ErrNotExist) {
				return nil // not there yet
			}
			return err
		})
	}
	group.Go(func() error {
		for i := range uint64(20) {
			if err := d.Save(Meta{1, i + 1}, content(random(i, 1000))); err != nil {
				return err
			}
			if _, err := d.Purge(2); err != nil {
				return err
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if got, err := load(d, Meta{1, 100}); err != nil || !bytes.Equal(got, random(1, 100_000)) {
		t.Errorf("the import is %d bytes, %v", len(got), err)
	}
}
