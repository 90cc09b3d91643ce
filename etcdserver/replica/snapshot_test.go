package replica

import (
	"bytes"
	"strings"
	"testing"

	"canopy/store"
)

// What is read back is compared with the state that was saved: the head, and the
// hash of the tree.
func TestWhatIsReadBackIsCompared(t *testing.T) {
	s := New(1, store.Options{})
	s.Index, s.Term = 7, 1
	var b bytes.Buffer
	if err := s.Snapshot().Save(&b); err != nil {
		t.Fatal(err)
	}
	other, tree := New(2, store.Options{}), New(1, store.Options{})
	other.Index, other.Term = 7, 1
	tree.Index, tree.Term = 7, 1
	tree.Store.Advance()
	tree.Store.Publish()
	for _, c := range []struct {
		name string
		of   *State
		want string
	}{
		{"what was saved", s, ""},
		{"another head", other, "its head"},
		{"another tree", tree, "a tree with the hash"},
	} {
		err := c.of.Snapshot().Verify(bytes.NewReader(b.Bytes()))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
