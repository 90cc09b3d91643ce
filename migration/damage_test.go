package migration

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"canopy/migration/etcdwal"
	"canopy/migration/report"
)

// segment writes a log as etcd does, with padding or without.
type segment struct {
	padded  bool
	running uint32
	bytes   []byte
	index   uint64
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func varintField(b []byte, number protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), v)
}

func bytesField(b []byte, number protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), v)
}

func (s *segment) record(kind uint64, data []byte) {
	m := varintField(nil, 1, kind)
	if kind != 4 {
		s.running = crc32.Update(s.running, castagnoli, data)
	}
	m = varintField(m, 2, uint64(s.running))
	if kind != 4 {
		m = bytesField(m, 3, data)
	}
	length := uint64(len(m))
	if pad := (8 - len(m)%8) % 8; s.padded && pad > 0 {
		length |= uint64(0x80|pad) << 56
		m = append(m, make([]byte, pad)...)
	}
	s.bytes = append(binary.LittleEndian.AppendUint64(s.bytes, length), m...)
}

func (s *segment) state(term, commit uint64) {
	s.record(3, varintField(varintField(varintField(nil, 1, term), 2, 0x33), 3, commit))
}

func (s *segment) entry(kind uint64, data []byte) {
	s.index++
	e := varintField(varintField(varintField(nil, 1, kind), 2, 1), 3, s.index)
	if data != nil {
		e = bytesField(e, 4, data)
	}
	s.record(2, e)
}

// put is a v2 request; ttl and time are nanoseconds.
func (s *segment) request(method, path, value string, expires, now int64) {
	b := varintField(nil, 1, s.index+1)
	b = bytesField(bytesField(bytesField(b, 2, []byte(method)), 3, []byte(path)), 4, []byte(value))
	b = bytesField(varintField(b, 5, 0), 6, nil)
	b = varintField(varintField(b, 7, 0), 9, uint64(expires))
	for _, n := range []protowire.Number{10, 11, 12, 13, 14} {
		b = varintField(b, n, 0)
	}
	s.entry(0, varintField(varintField(b, 15, uint64(now)), 16, 0))
}

func begin(padded bool) *segment {
	s := &segment{padded: padded}
	s.record(4, nil)
	s.record(1, varintField(varintField(nil, 1, 0x33), 2, 0x44))
	s.record(5, varintField(varintField(nil, 1, 0), 2, 0))
	return s
}

// small is a log with a bit of all.
func small(padded bool) *segment {
	s := begin(padded)
	change := varintField(varintField(varintField(nil, 1, 1), 2, 0), 3, 0x33)
	s.entry(1, bytesField(change, 4, []byte(`{"id":51,"peerURLs":["http://h:1"]}`)))
	s.entry(0, nil)
	s.request("PUT", "/0/members/33/attributes", `{"name":"m1","clientURLs":["http://h:2"]}`, 0, 0)
	s.state(1, 3)
	s.request("PUT", "/0/version", "2.3.0", 0, 0)
	s.request("PUT", "/1/a", "b", 0, 0)
	s.request("POST", "/1/q", strings.Repeat("x", 600), 2_000_000_000e9, 0)
	s.state(1, 5)
	s.request("SYNC", "", "", 0, 1_500_000_000e9)
	s.request("DELETE", "/1/a", "", 0, 0)
	s.request("PUT", "/1/last", "é\xff", 0, 0)
	s.state(1, s.index)
	return s
}

// directory writes a data directory.
func directory(t testing.TB, wal []byte, snaps map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, data []byte) {
		path := filepath.Join(dir, "member", name)
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err == nil {
			err = os.WriteFile(path, data, 0o600)
		}
		if err == nil {
			err = os.Chtimes(path, time.Unix(1_400_000_000, 0), time.Unix(1_400_000_000, 0)) // "now", if the log tells no time
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("wal/0000000000000000-0000000000000000.wal", wal)
	for name, data := range snaps {
		write("snap/"+name, data)
	}
	return dir
}

// imported is all that an import gives; cut tells that it says that something is missing.
func imported(t testing.TB, dir string) (state string, cut bool, err error) {
	t.Helper()
	state, r, err := importedAnd(t, dir)
	return state, r != nil && r.Cut != nil, err
}

// importedAnd gives the report, too.
func importedAnd(t testing.TB, dir string) (state string, _ *report.Report, err error) {
	t.Helper()
	s, r, err := Import([]string{dir}, Options{})
	if err != nil {
		return "", nil, err
	}
	var b bytes.Buffer
	if err := s.Snapshot().Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.String(), r, nil
}

// TestBytesOfTheSpecification reads the logs of section 11.
func TestBytesOfTheSpecification(t *testing.T) {
	for name, text := range map[string]string{
		"2.x": `040000000000000008041000 0e00000000000000080110eeabbce6071a0408331044 0d00000000000000080510d498bf4c1a0408001000
			3900000000000000080210d8e2aca4011a2f0800100118012227080712035055541a042f312f61220162280032003800480050005800600068007000780080 0100
			1000000000000000080310c1fe91b80e1a06080110331801`,
		"3.x": `0400000000000084 08041000 00000000 0e00000000000082 080110eeabbce6071a0408331044 0000 0d00000000000083 080510d498bf4c1a0408001000 000000
			3900000000000087 080210d8e2aca4011a2f0800100118012227080712035055541a042f312f61220162280032003800480050005800600068007000780080 0100 00000000000000
			1000000000000000 080310c1fe91b80e1a06080110331801`,
	} {
		b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
		if err != nil {
			t.Fatal(err)
		}
		s, r, err := Import([]string{directory(t, b, nil)}, Options{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		view := s.Store.View()
		got := read(t, view, "/a")
		if view.Index() != 1 || got.Value != "b" || got.Created != 1 || got.Modified != 1 || r.Cut != nil {
			t.Errorf("%s: index %d, node %+v, %+v", name, view.Index(), got, r)
		}
	}
}

// TestCutLogs cuts a log at each byte, and appends zeros: what is left is a beginning of the log and said to be cut, or it is
// refused (G14, G15; section 12, 4).
func TestCutLogs(t *testing.T) {
	for _, padded := range []bool{false, true} {
		whole := small(padded).bytes
		want, _, err := imported(t, directory(t, whole, nil))
		if err != nil {
			t.Fatal(err)
		}
		ends := ends(whole, padded)
		for at := range len(whole) {
			for _, zeros := range []int{0, 4096} {
				state, cut, err := imported(t, directory(t, append(bytes.Clone(whole[:at]), make([]byte, zeros)...), nil))
				if err == nil && state != want && !cut && !ends[at] {
					t.Errorf("padded %v: cut at byte %d with %d zeros behind it: another state without a word", padded, at, zeros)
				}
			}
		}
		state, cut, err := imported(t, directory(t, append(bytes.Clone(whole), make([]byte, 4096)...), nil))
		if err != nil || cut || state != want {
			t.Errorf("padded %v: zeros at the end: cut %v, %v", padded, cut, err)
		}
	}
}

// ends gives where a log can be cut without a trace: behind a record, or within what zeros make whole again.
func ends(log []byte, padded bool) map[int]bool {
	whole := map[int]bool{}
	for at := 0; at < len(log); {
		n := int(binary.LittleEndian.Uint64(log[at:]) & (1<<56 - 1))
		last := at + 8 + n
		at = last
		if padded {
			at = (at + 7) / 8 * 8
		}
		for i := last; i < at; i++ {
			whole[i] = true // zeros follow: true if there are enough of them
		}
		for ; log[last-1] == 0; last-- {
			whole[last-1] = true
		}
		whole[at] = true
	}
	return whole
}

// snapshotOf makes a snapshot file of a state.
func snapshotOf(state string, term, index uint64) (name string, file []byte) {
	meta := varintField(varintField(bytesField(nil, 1, varintField(nil, 1, 0x33)), 2, index), 3, term)
	data := bytesField(bytesField(nil, 1, []byte(state)), 2, meta)
	file = bytesField(varintField(nil, 1, uint64(crc32.Checksum(data, castagnoli))), 2, data)
	return fmt.Sprintf("%016x-%016x.snap", term, index), file
}

const smallState = `{"Root":{"Path":"/","CreatedIndex":0,"ModifiedIndex":0,"ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{` +
	`"0":{"Path":"/0","CreatedIndex":0,"ModifiedIndex":0,"ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{}},` +
	`"1":{"Path":"/1","CreatedIndex":0,"ModifiedIndex":0,"ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{` +
	`"a":{"Path":"/1/a","CreatedIndex":1,"ModifiedIndex":2,"ExpireTime":"2036-06-02T10:00:00.5+05:30","Value":"b","Children":null},` +
	`"d":{"Path":"/1/d","CreatedIndex":3,"ModifiedIndex":3,"ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{}}}}}},` +
	`"WatcherHub":{"EventHistory":{"Queue":{"Events":[{"action":"set","node":{"key":"/1/a","value":"b","modifiedIndex":2,"createdIndex":1}},null],` +
	`"Size":1,"Front":0,"Back":1,"Capacity":2},"StartIndex":2,"LastIndex":3}},"CurrentIndex":3,"Stats":{},"CurrentVersion":2}`

// TestEveryFlippedBit flips each bit of a log and of a snapshot: the import gives the same state, or says what is cut, or is
// refused; never another state without a word (section 12, 4).
func TestEveryFlippedBit(t *testing.T) {
	name, snap := snapshotOf(smallState, 1, 3)
	for _, padded := range []bool{false, true} {
		log := small(padded).bytes
		if padded {
			log = append(log, make([]byte, 1024)...)
		}
		flipEach(t, fmt.Sprintf("log, padded %v", padded), log, func(b []byte) string { return directory(t, b, nil) })
		flipEach(t, "snapshot", snap, func(b []byte) string { return directory(t, log, map[string][]byte{name: b}) })
	}
}

func flipEach(t *testing.T, what string, whole []byte, make func([]byte) string) {
	t.Helper()
	dir := make(whole)
	want, _, err := imported(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	file := ""
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if b, _ := os.ReadFile(path); bytes.Equal(b, whole) {
				file = path
			}
		}
		return err
	})
	if err != nil || file == "" {
		t.Fatal(file, err)
	}
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	refusals, cuts := 0, 0
	for at := range whole {
		for bit := range 8 {
			flipped := whole[at] ^ 1<<bit
			if _, err := f.WriteAt([]byte{flipped}, int64(at)); err != nil {
				t.Fatal(err)
			}
			state, r, err := importedAnd(t, dir)
			switch {
			case err != nil:
				refusals++
			case r.Cut != nil, len(r.PassedOver) > 0:
				cuts++
			case state != want:
				t.Errorf("%s: bit %d of byte %d changes the state without a word", what, bit, at)
			}
		}
		if _, err := f.WriteAt(whole[at:at+1], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%s: of %d bits %d were refused, %d cut or passed over", what, 8*len(whole), refusals, cuts)
}

// TestALengthThatIsWrongIsDamage: one flipped bit in a length looks like a torn end to the old servers, which go on without all
// that follows (G14).
func TestALengthThatIsWrongIsDamage(t *testing.T) {
	for _, padded := range []bool{false, true} {
		log := append(small(padded).bytes, make([]byte, 1024)...)
		for at := int64(0); ; {
			n := int64(binary.LittleEndian.Uint64(log[at:]) & (1<<56 - 1))
			if n == 0 {
				break
			}
			for bit := range 56 {
				log[at+int64(bit/8)] ^= 1 << (bit % 8)
				_, r, err := importedAnd(t, directory(t, log, nil))
				if damage := (*etcdwal.DamageError)(nil); err == nil || !errors.As(err, &damage) && r == nil && !strings.Contains(err.Error(), "committed") {
					t.Errorf("padded %v, bit %d of the length at %d: %v", padded, bit, at, err)
				}
				log[at+int64(bit/8)] ^= 1 << (bit % 8)
			}
			at += 8 + n
			if padded {
				at = (at + 7) / 8 * 8
			}
		}
	}
}

// FuzzSegment: no bytes make a log panic, hang or take much memory.
func FuzzSegment(f *testing.F) {
	f.Add(small(false).bytes)
	f.Add(small(true).bytes)
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, err := imported(t, directory(t, b, nil))
		_ = err
	})
}

// FuzzState: no bytes make the state of a snapshot panic, and what is taken can be saved and read again.
func FuzzState(f *testing.F) {
	f.Add([]byte(smallState))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "state")
		if !json.Valid(b) || b[0] != '{' {
			return
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := imported(t, path)
		_ = err
	})
}

// FuzzLog04: no bytes make a log of 0.4 panic.
func FuzzLog04(f *testing.F) {
	command := `{"key":"/a","value":"b","expireTime":"0001-01-01T00:00:00Z","dir":false}` + "\n"
	e := bytesField(bytesField(varintField(varintField(nil, 1, 1), 2, 0), 3, []byte("etcd:set")), 4, []byte(command))
	f.Add(append(fmt.Appendf(nil, "%8x\n", len(e)), e...))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		err := errors.Join(os.WriteFile(filepath.Join(dir, "log"), b, 0o600), os.WriteFile(filepath.Join(dir, "conf"), []byte("{}"), 0o600))
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = imported(t, dir)
		_ = err
	})
}
