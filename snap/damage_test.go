package snap

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"canopy/internal/disk"
)

// seed replays one run of the tests that use random numbers. They print it when they fail.
var seed = flag.Uint64("seed", 0, "run the random tests with this seed only")

func seeds(n uint64) []uint64 {
	if *seed != 0 {
		return []uint64{*seed}
	}
	all := make([]uint64, n)
	for i := range all {
		all[i] = uint64(i) + 1
	}
	return all
}

func fileOf(t testing.TB, m *disk.Mem, name string) []byte {
	t.Helper()
	b, err := disk.ReadFile(m, name, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// refusesOnly checks that a damaged snapshot is refused, and that its reader gets an error other than io.EOF.
func refusesOnly(t *testing.T, d *Dir, meta Meta, what string) {
	t.Helper()
	var last error
	err := d.Load(meta, func(r io.Reader) error {
		var b [1000]byte
		for last == nil {
			_, last = r.Read(b[:])
		}
		return nil // a reader that ignores the error
	})
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) && !errors.Is(err, ErrNewerFormat) {
		t.Fatalf("%s: Load = %v", what, err)
	}
	if last == io.EOF {
		t.Fatalf("%s: the reader saw a clean end", what)
	}
	if corrupt != nil && corrupt.File != d.Path(meta) {
		t.Fatalf("%s: %v does not name the file", what, err)
	}
}

func TestFlippedBitIsRefused(t *testing.T) { // R17
	meta := Meta{2, 9}
	m := disk.NewMem()
	d := open(t, m)
	save(t, d, meta, random(1, 3000))
	size := int64(len(fileOf(t, m, d.Path(meta))))
	for bit := range size * 8 {
		if err := m.Flip(d.Path(meta), bit); err != nil {
			t.Fatal(err)
		}
		refusesOnly(t, d, meta, fmt.Sprintf("bit %d", bit))
		if err := m.Flip(d.Path(meta), bit); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCutOrLengthenedFileIsRefused(t *testing.T) {
	meta := Meta{2, 9}
	m := disk.NewMem()
	d := open(t, m)
	save(t, d, meta, random(1, 3000))
	whole := fileOf(t, m, d.Path(meta))
	for n := range len(whole) {
		for _, b := range [][]byte{whole[:n], append(append([]byte{}, whole[:n]...), make([]byte, len(whole)-n)...)} {
			if bytes.Equal(b, whole) {
				continue // only zeros were cut off
			}
			if err := disk.WriteFile(m, d.Path(meta), b); err != nil {
				t.Fatal(err)
			}
			refusesOnly(t, d, meta, fmt.Sprintf("cut to %d of %d bytes", n, len(b)))
		}
	}
	for _, more := range []int{1, 8, 512, 4096} {
		if err := disk.WriteFile(m, d.Path(meta), append(append([]byte{}, whole...), make([]byte, more)...)); err != nil {
			t.Fatal(err)
		}
		refusesOnly(t, d, meta, fmt.Sprintf("%d bytes more", more))
	}
}

// TestBlocksMissingDoubledOrSwappedAreRefused changes the order of blocks that are good themselves.
func TestBlocksMissingDoubledOrSwappedAreRefused(t *testing.T) {
	meta := Meta{1, 1}
	m := disk.NewMem()
	d := open(t, m)
	save(t, d, meta, random(1, 7<<20))
	whole := fileOf(t, m, d.Path(meta))
	const block = frameBytes + blockBytesMax
	if len(whole) < headerBytes+3*block {
		t.Fatalf("%d bytes are too few blocks", len(whole))
	}
	head, a, b, rest := whole[:headerBytes], whole[headerBytes:headerBytes+block], whole[headerBytes+block:headerBytes+2*block],
		whole[headerBytes+2*block:]
	for name, parts := range map[string][][]byte{
		"first missing": {head, b, rest}, "second missing": {head, a, rest}, "doubled": {head, a, a, b, rest},
		"swapped": {head, b, a, rest}, "last missing": {head, a, b, rest[len(rest)-footerBytes:]},
		"footer doubled": {whole, rest[len(rest)-footerBytes:]},
	} {
		if err := disk.WriteFile(m, d.Path(meta), bytes.Join(parts, nil)); err != nil {
			t.Fatal(err)
		}
		refusesOnly(t, d, meta, name)
	}
}

func TestSnapshotUnderAnotherNameIsRefused(t *testing.T) {
	m := disk.NewMem()
	d := open(t, m)
	save(t, d, Meta{2, 9}, []byte("x"))
	if err := m.Rename(d.Path(Meta{2, 9}), d.Path(Meta{2, 10})); err != nil {
		t.Fatal(err)
	}
	refusesOnly(t, d, Meta{2, 10}, "renamed")
}

// TestOldSnapshotsOutliveAFailure makes each operation of Save fail, also because the disk is full (R5).
func TestOldSnapshotsOutliveAFailure(t *testing.T) {
	old, b := random(1, 5000), random(2, 3<<20)
	for _, cause := range []error{disk.ErrInjected, disk.ErrNoSpace} {
		for point := 1; ; point++ {
			m := disk.NewMem()
			d := open(t, m)
			save(t, d, Meta{1, 1}, old)
			m.Inject(disk.Fault{Nth: point, Err: cause})
			err := d.Save(Meta{1, 2}, content(b))
			if !m.Struck() {
				break
			}
			if !errors.Is(err, cause) {
				t.Fatalf("operation %d failed, and Save says %v", point, err)
			}
			m.Heal()
			if got, err := load(d, Meta{1, 1}); err != nil || !bytes.Equal(got, old) {
				t.Fatalf("operation %d failed, and the old snapshot is %d bytes, %v", point, len(got), err)
			}
			if names, _ := m.List("/snap"); len(names) > 2 || strings.Contains(fmt.Sprint(names), ".tmp") {
				t.Fatalf("operation %d failed, and left %v", point, names)
			}
		}
	}
}

func TestFullDiskGivesTheRoomBack(t *testing.T) { // R5, R8
	m := disk.NewMem()
	d := open(t, m)
	save(t, d, Meta{1, 1}, random(1, 5000))
	used := m.Used()
	for room := int64(0); room < 60_000; room += 997 {
		m.SetCapacity(used + room)
		if err := d.Save(Meta{1, 2}, content(random(2, 200_000))); !errors.Is(err, disk.ErrNoSpace) {
			t.Fatalf("with %d bytes of room: Save = %v", room, err)
		}
		if m.Used() != used {
			t.Fatalf("%d bytes are kept: %v", m.Used()-used, m)
		}
	}
	m.SetCapacity(0)
	save(t, d, Meta{1, 2}, random(2, 200_000))
}

// A file that cannot be read back does not get the name of a snapshot (B59).
func TestReadErrorWhileVerifyingFailsTheSave(t *testing.T) {
	m := disk.NewMem()
	d := open(t, m)
	m.Inject(disk.Fault{Op: disk.OpRead, Nth: 2})
	if err := d.Save(Meta{1, 1}, content(random(1, 5000))); !errors.Is(err, disk.ErrInjected) {
		t.Errorf("Save = %v", err)
	}
	if metas, _ := d.List(); len(metas) != 0 {
		t.Errorf("List() = %v", metas)
	}
}

// TestSavedSnapshotOutlivesACrash cuts the power at each operation of Save and after it.
func TestSavedSnapshotOutlivesACrash(t *testing.T) {
	old, b := random(1, 5000), random(2, 3<<20)
	for point := 1; ; point++ {
		m := disk.NewMem()
		d := open(t, m)
		save(t, d, Meta{1, 1}, old)
		m.Inject(disk.Fault{Nth: point, Dead: true})
		saved := d.Save(Meta{1, 2}, content(b)) == nil
		for fate := range uint64(12) {
			c := m.Crash(fate)
			d := open(t, c)
			metas, err := d.List()
			if err != nil || saved && len(metas) < 2 {
				t.Fatalf("crash at operation %d, fate %d: %v, %v", point, fate, metas, err)
			}
			for _, meta := range metas {
				want := map[Meta][]byte{{1, 1}: old, {1, 2}: b}[meta]
				if got, err := load(d, meta); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("crash at operation %d, fate %d: %v has %d bytes, %v", point, fate, meta, len(got), err)
				}
			}
			if names, _ := c.List("/snap"); len(names) != len(metas) {
				t.Fatalf("crash at operation %d, fate %d: %v is left", point, fate, names)
			}
		}
		if !m.Struck() {
			return
		}
	}
}

// loadBytes loads any bytes as snapshot {0, 0}.
func loadBytes(t testing.TB, b []byte) ([]byte, error) {
	t.Helper()
	m := disk.NewMem()
	d := open(t, m)
	if err := disk.WriteFile(m, d.Path(Meta{}), b); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	err := d.Load(Meta{}, func(r io.Reader) error {
		_, err := io.Copy(&got, io.LimitReader(r, 1<<20))
		return err
	})
	return got.Bytes(), err
}

// sealed corrects the checksums, so that the fields behind them are read (R16).
func sealed(b []byte) []byte {
	b = append([]byte{}, b...)
	if len(b) < headerBytes {
		return b
	}
	copy(b, encodeHeader(Meta{}))
	sum := headerSum(b)
	for at := headerBytes; at+frameBytes <= len(b); {
		length := binary.LittleEndian.Uint32(b[at:])
		if int64(at)+frameBytes+int64(length) > int64(len(b)) {
			break
		}
		end := at + frameBytes + int(length)
		if length == 0 {
			end = at + footerBytes
		}
		if end > len(b) {
			break
		}
		sum = partSum(b[at:end], sum)
		binary.LittleEndian.PutUint32(b[at+4:], sum)
		at = end
	}
	return b
}

func FuzzLoad(f *testing.F) {
	m := disk.NewMem()
	d := open(f, m)
	for _, size := range []int{0, 1, 3000} {
		save(f, d, Meta{}, random(1, size))
		f.Add(fileOf(f, m, d.Path(Meta{})))
	}
	f.Add(encodeHeader(Meta{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = loadBytes(t, b)
		_, _ = loadBytes(t, sealed(b))
	})
}

// TestGarbageIsRefusedInBoundedMemory is a simple fuzzer that runs with all tests. Damage with correct checksums reaches the
// decompressor.
func TestGarbageIsRefusedInBoundedMemory(t *testing.T) {
	m := disk.NewMem()
	d := open(t, m)
	save(t, d, Meta{}, random(1, 3000))
	whole := fileOf(t, m, d.Path(Meta{}))
	for _, seed := range seeds(500) {
		rng := rand.New(rand.NewPCG(seed, 4))
		b := append([]byte{}, whole...)
		for range 1 + rng.IntN(4) {
			from := rng.IntN(len(b))
			for i := from; i < min(len(b), from+1+rng.IntN(10)); i++ {
				b[i] = byte(rng.Uint32())
			}
		}
		if rng.IntN(2) == 0 {
			b = sealed(b)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, err := loadBytes(t, b)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
			t.Errorf("-seed %d: %d bytes of memory", seed, n)
		}
		if err != nil && !errors.As(err, new(*CorruptError)) && !errors.Is(err, ErrNewerFormat) {
			t.Fatalf("-seed %d: Load = %d bytes, %v", seed, len(got), err)
		}
	}
}

func TestNewerFormatIsSaid(t *testing.T) {
	b := encodeHeader(Meta{})
	b[8]++
	binary.LittleEndian.PutUint32(b[12:], crc32.Update(crc32.Checksum(b[:12], castagnoli), castagnoli, b[16:]))
	if _, err := loadBytes(t, b); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("Load = %v", err)
	}
}

var rewrite = flag.Bool("rewrite", false, "write the golden file of the format anew")

// TestFormatIsFrozen reads a snapshot of format version 1. How well zstd packs may change, so it is not compared.
func TestFormatIsFrozen(t *testing.T) {
	const golden = "testdata/version1.hex"
	want := bytes.Repeat([]byte("a tree of keys and values "), 20)
	if *rewrite {
		m := disk.NewMem()
		d := open(t, m)
		save(t, d, Meta{}, want)
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(hex.Dump(fileOf(t, m, d.Path(Meta{})))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for line := range strings.Lines(string(text)) {
		digits, _, _ := strings.Cut(strings.TrimSpace(line)[8:], "|")
		part, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, part...)
	}
	got, err := loadBytes(t, b)
	if d := cmp.Diff(string(want), string(got)); d != "" || err != nil {
		t.Errorf("the golden snapshot is read otherwise: %v\n%s", err, d)
	}
}
