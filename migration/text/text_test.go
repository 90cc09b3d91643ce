package text

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

var nodes = []Node{
	{Key: "/a", Dir: true},
	{Key: "/a/b", Value: "text <&> \u2028", Expiration: time.Date(2036, 1, 2, 3, 4, 5, 6, time.UTC)},
	{Key: "/a/c", Dir: true},
	{Key: "/a/c/\xff", Value: "\xff\x00", Created: 3, Modified: 4},
	{Key: "/a/d", Value: ""},
	{Key: "/a!", Value: "a slash sorts behind an exclamation mark, and a name does not"},
	{Key: "/b", Dir: true},
}

func write(t testing.TB, h Header, nodes []Node) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, h)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		if err := w.Add(n); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readAll(b []byte) (all []Node, err error) {
	_, _, err = Read(bytes.NewReader(b), func(_ uint64, _ Header, n Node) error {
		all = append(all, n)
		return nil
	})
	return all, err
}

// TestWhatIsWrittenIsRead: values that are no text, empty ones and times come back, and equal nodes give equal bytes (G61).
func TestWhatIsWrittenIsRead(t *testing.T) {
	b := write(t, Header{Root: "/", Index: 9}, nodes)
	all, err := readAll(b)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range nodes {
		if all[i] != n {
			t.Errorf("node %d is %+v, want %+v", i, all[i], n)
		}
	}
	if again := write(t, Header{Root: "/", Index: 9}, all); !bytes.Equal(again, b) {
		t.Errorf("written again it is\n%s\nwant\n%s", again, b)
	}
}

// TestDamageIsNoticed: a file that is cut anywhere, or of which a byte has changed, is refused (G62).
func TestDamageIsNoticed(t *testing.T) {
	b := write(t, Header{Root: "/"}, nodes)
	for at := range len(b) - 1 { // the last line end may be missing
		if _, err := readAll(b[:at]); err == nil {
			t.Errorf("cut at byte %d: it was taken", at)
		}
		for bit := range 8 {
			flipped := bytes.Clone(b)
			flipped[at] ^= 1 << bit
			if all, err := readAll(flipped); err == nil && !equal(all, nodes) {
				t.Errorf("bit %d of byte %d: it was taken as other nodes", bit, at)
			}
		}
	}
}

func equal(a, b []Node) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Key != b[i].Key || a[i].Value != b[i].Value || a[i].Dir != b[i].Dir || !a[i].Expiration.Equal(b[i].Expiration) {
			return false
		}
	}
	return true
}

// TestOrderIsChecked: what Export does not write is refused, with its line.
func TestOrderIsChecked(t *testing.T) {
	for name, nodes := range map[string][]Node{
		"without its directory": {{Key: "/a/b"}},
		"below a file":          {{Key: "/a"}, {Key: "/a/b"}},
		"twice":                 {{Key: "/a"}, {Key: "/a"}},
		"out of order":          {{Key: "/b"}, {Key: "/a"}},
		"a directory twice":     {{Key: "/b", Dir: true}, {Key: "/b/a"}, {Key: "/b", Dir: true}},
		"not clean":             {{Key: "/a/../b"}},
		"the root":              {{Key: "/", Dir: true}},
	} {
		if _, err := readAll(write(t, Header{Root: "/"}, nodes)); err == nil || !strings.HasPrefix(err.Error(), "line ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzRead: no bytes make it panic, and what it takes it writes and reads again.
func FuzzRead(f *testing.F) {
	f.Add(write(f, Header{Root: "/"}, nodes))
	f.Add(write(f, Header{Root: "/a", Index: 3}, nodes[:5]))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := readAll(b)
		if err != nil {
			return
		}
		var h Header
		h, _, _ = Read(bytes.NewReader(b), func(uint64, Header, Node) error { return nil })
		again, err := readAll(write(t, h, all))
		if err != nil || !equal(again, all) {
			t.Errorf("%v: %v is read again as %v", err, all, again)
		}
	})
}
