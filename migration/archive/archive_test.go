package archive

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"canopy/etcdserver/auth"
	"canopy/etcdserver/replica"
	"canopy/store"
)

// sample is a small file.
func sample(t testing.TB) []byte {
	t.Helper()
	st := store.New(store.Options{})
	for _, raw := range []string{"/a/b", "/c"} {
		key, err := store.ParseKey(raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Apply(1, store.Set{Key: key, Value: "v\xff", TTL: store.TTL{Set: true, Seconds: 100}}); err != nil {
			t.Fatal(err)
		}
	}
	st.Publish()
	users := auth.Contents{Revision: 1, Users: []auth.User{{Name: "root", Hash: []byte("h")}}}
	var b bytes.Buffer
	if err := Write(&b, Header{Program: "1", Cluster: "c", Index: 2}, replica.Assemble(7, 3, st, users).Snapshot()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func save(t testing.TB, b []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestDamagedFilesAreRefused: a file is whole, or refused, as a file and as a stream: cut at each byte, each bit flipped, more
// behind it (G58, G59).
func TestDamagedFilesAreRefused(t *testing.T) {
	whole := sample(t)
	name := save(t, whole)
	file, err := Verify(name)
	if err != nil {
		t.Fatal(err)
	}
	if r := file.Report(); r.Keys != 2 || r.Directories != 1 || r.WithTTL != 2 || r.Users != 1 || r.Index != 2 || r.LastIndex != 7 {
		t.Errorf("the report is %+v", r)
	}
	refused := func(what string, at int, b []byte) {
		t.Helper()
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(name); err == nil {
			t.Errorf("%s %d: the file was taken", what, at)
		}
		if _, err := Copy(io.Discard, bytes.NewReader(b)); err == nil {
			t.Errorf("%s %d: the stream was taken", what, at)
		}
	}
	for at := range whole {
		refused("cut at", at, whole[:at])
		for bit := range 8 {
			flipped := bytes.Clone(whole)
			flipped[at] ^= 1 << bit
			refused("flipped a bit of", at, flipped)
		}
	}
	refused("more behind", len(whole), append(bytes.Clone(whole), 0))
}

// TestAFailedWriteLeavesNothing: what was there stays, and no temporary file is left.
func TestAFailedWriteLeavesNothing(t *testing.T) {
	whole := sample(t)
	name := save(t, whole)
	for what, write := range map[string]func(io.Writer) error{
		"an error": func(io.Writer) error { return io.ErrUnexpectedEOF },
		"a part": func(w io.Writer) error {
			_, err := w.Write(whole[:len(whole)-1])
			return err
		},
	} {
		if _, err := Put(name, write); err == nil {
			t.Errorf("%s: it succeeded", what)
		}
	}
	names, err := os.ReadDir(filepath.Dir(name))
	if b, readErr := os.ReadFile(name); err != nil || readErr != nil || !bytes.Equal(b, whole) || len(names) != 1 {
		t.Errorf("%v %v: %d files", err, readErr, len(names))
	}
}

// TestALongStreamIsCopied: the checksum at the end is found wherever pieces end.
func TestALongStreamIsCopied(t *testing.T) {
	st := store.New(store.Options{})
	key, err := store.ParseKey("/long")
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1 << 10, 1 << 17, 1<<18 - 300, 1 << 20} {
		if _, err := st.Apply(1, store.Set{Key: key, Value: string(make([]byte, size))}); err != nil {
			t.Fatal(err)
		}
		st.Publish()
		var b, copied bytes.Buffer
		if err := Write(&b, Header{}, replica.Assemble(1, 1, st, auth.Contents{}).Snapshot()); err != nil {
			t.Fatal(err)
		}
		want := bytes.Clone(b.Bytes())
		if n, err := Copy(&copied, &b); err != nil || int(n) != len(want) || !bytes.Equal(copied.Bytes(), want) {
			t.Errorf("%d bytes of %d: %v", n, len(want), err)
		}
	}
}

// FuzzVerify: no bytes make it panic or take much memory.
func FuzzVerify(f *testing.F) {
	f.Add(sample(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		name := save(t, b)
		file, err := Verify(name)
		if err == nil {
			file.Report()
		}
	})
}
