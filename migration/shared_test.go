package migration

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"canopy/etcdserver/replica"
	"canopy/migration/report"
	"canopy/store"
	"canopy/store/watch"
)

var shared = flag.String("directories", "../../shared/migration", "real data directories of old etcd versions")

// expected is what a server of the old version answered last.
type expected struct {
	Version     string
	Outcome     string
	Dirs        []string
	Index       uint64
	HistoryFrom uint64 `json:"historyFrom"`
	Bytes       map[string]string
	Replaced    []string
	Modified    map[string]uint64 `json:"modifiedIndexFromSnapshot"`
	Tree        *node
	Hidden      map[string]*node
	Internal    *node
	Events      [][]any
	Log         struct{ LastTerm, LastIndex, Commit uint64 }
	Auth        struct {
		Enabled bool
		Users   []struct {
			User  string
			Roles []string
		}
		Roles []struct {
			Role        string
			Permissions struct {
				KV struct{ Read, Write []string }
			}
		}
	}
}

type node struct {
	Key        string
	Value      string
	Dir        bool
	Expiration *time.Time
	Modified   uint64  `json:"modifiedIndex"`
	Created    uint64  `json:"createdIndex"`
	Nodes      []*node `json:"nodes"`
}

// unpack gives the directories of an archive, and what is expected of them.
func unpack(t *testing.T, name string) (dirs []string, e expected) {
	t.Helper()
	at := t.TempDir()
	if out, err := exec.Command("tar", "xzf", filepath.Join(*shared, name, "data.tar.gz"), "-C", at).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(*shared, name, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &e); err != nil {
		t.Fatal(err)
	}
	for _, dir := range e.Dirs {
		if dir != "m3-removed" {
			dirs = append(dirs, filepath.Join(at, dir))
		}
	}
	return dirs, e
}

// archives are the names of all.
func archives(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(*shared, "*", "expected.json"))
	if err != nil || len(files) == 0 {
		t.Skipf("the directories are not here: %v", err)
	}
	for _, f := range files {
		names = append(names, filepath.Base(filepath.Dir(f)))
	}
	return names
}

// TestRealDirectories imports each real directory and compares all that clients can see with what its server answered last
// (G1–G56, section 12, 1 and 3).
func TestRealDirectories(t *testing.T) {
	for _, name := range archives(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dirs, want := unpack(t, name)
			before := fingerprint(t, dirs)
			state, r, err := Import(dirs, Options{KeepInternal: want.Internal != nil})
			if after := fingerprint(t, dirs); after != before {
				t.Error("the source has changed (G4)")
			}
			if want.Outcome == "refuse" {
				if err == nil {
					t.Fatalf("it was taken, up to index %d", state.Store.View().Index())
				}
				t.Log(err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			check(t, state, r, &want)
		})
	}
}

// fingerprint is the names, sizes, times and content of all files.
func fingerprint(t *testing.T, dirs []string) string {
	t.Helper()
	args := append([]string{"-c", `for d; do find "$d" -printf '%p %s %T@ %m\n' | sort; find "$d" -type f | sort | xargs -d '\n' sha256sum; done`, "sh"}, dirs...)
	out, err := exec.Command("sh", args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func check(t *testing.T, state *replica.State, r *report.Report, want *expected) {
	t.Helper()
	if cut := r.Cut != nil; cut != (want.Outcome == "import-with-cut") {
		t.Errorf("cut: %v, want %s", r.Cut, want.Outcome)
	}
	view := state.Store.View()
	if got := uint64(view.Index()); got != want.Index {
		t.Errorf("the index is %d, want %d", got, want.Index)
	}
	if l := want.Log; l.LastIndex != 0 && (r.LastIndex != l.LastIndex || r.LastTerm != l.LastTerm) {
		t.Errorf("the log ends at %d of term %d, want %d of term %d", r.LastIndex, r.LastTerm, l.LastIndex, l.LastTerm)
	}
	compareNodes(t, read(t, view, "/"), want.Tree, want)
	for name, hidden := range want.Hidden {
		compareNodes(t, read(t, view, name), hidden, want)
	}
	if want.Internal != nil {
		compareNodes(t, read(t, view, "/_etcd"), want.Internal, want)
	}
	for key, value := range want.Bytes {
		bytes, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			t.Fatal(err)
		}
		if got := rawValue(t, view, key); got != string(bytes) {
			t.Errorf("%s is %q, want %q", key, got, bytes)
		}
	}
	compareEvents(t, state, want)
	compareUsers(t, state, want)
}

func parse(t *testing.T, key string) store.Key {
	t.Helper()
	k, err := store.ParseKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// read is a recursive listing.
func read(t *testing.T, view *store.View, key string) *node {
	t.Helper()
	l, err := view.Get(parse(t, key), store.ReadOptions{Recursive: true})
	if err != nil {
		t.Errorf("%s: %v", key, err)
		return &node{}
	}
	var answer struct{ Node *node }
	if err := json.Unmarshal(l.AppendJSON(nil), &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Node
}

// rawValue finds a value in a saved snapshot, where it is as bytes.
func rawValue(t *testing.T, view *store.View, key string) string {
	t.Helper()
	l, err := view.Get(parse(t, key), store.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	memory, _, _ := l.File()
	return memory.(interface{ Value() string }).Value()
}

func compareNodes(t *testing.T, got, want *node, e *expected) {
	t.Helper()
	isRoot := got.Key == "" // 2.0.0 shows indexes of it
	if got.Key != want.Key && want.Key != "/" || got.Value != want.Value || got.Dir != want.Dir || got.Created != want.Created && !isRoot {
		t.Errorf("the node is %+v, want %+v", got, want)
	}
	if !isRoot && got.Modified != want.Modified && got.Modified != e.Modified[want.Key] {
		t.Errorf("%s was modified at %d, want %d", want.Key, got.Modified, want.Modified)
	}
	if (got.Expiration == nil) != (want.Expiration == nil) || got.Expiration != nil && !got.Expiration.Equal(*want.Expiration) {
		t.Errorf("%s expires %v, want %v", want.Key, got.Expiration, want.Expiration)
	}
	names := func(all []*node) (names []string) {
		for _, n := range all {
			names = append(names, n.Key)
		}
		return names
	}
	slices.SortFunc(want.Nodes, func(a, b *node) int { return strings.Compare(a.Key, b.Key) })
	if !slices.Equal(names(got.Nodes), names(want.Nodes)) {
		t.Errorf("below %q are %v, want %v", want.Key, names(got.Nodes), names(want.Nodes))
		return
	}
	for i := range got.Nodes {
		compareNodes(t, got.Nodes[i], want.Nodes[i], e)
	}
}

// compareEvents watches from the oldest index that the old server knew (G52).
func compareEvents(t *testing.T, state *replica.State, want *expected) {
	t.Helper()
	w, err := state.Store.Watch(store.Key{}, watch.Options{Recursive: true, Stream: true, Since: store.Index(want.HistoryFrom)})
	if err != nil {
		t.Error(err)
		return
	}
	defer w.Close()
	var got []string
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // all events are past: nothing is waited for
	for {
		e, err := w.Next(ctx)
		if err != nil {
			break
		}
		var event struct {
			Action string
			Node   node
			Prev   *node `json:"prevNode"`
		}
		if err := json.Unmarshal(e.JSON(), &event); err != nil {
			t.Fatal(err)
		}
		prev := "<nil>"
		if event.Prev != nil {
			prev = fmt.Sprint(event.Prev.Modified)
		}
		got = append(got, fmt.Sprintln(event.Action, event.Node.Key, event.Node.Modified, event.Node.Created, prev))
	}
	var all []string
	for _, e := range want.Events {
		if key := e[1].(string); !strings.Contains(key, "/_") { // a watch of the root shows no hidden keys (K106a)
			all = append(all, fmt.Sprintln(e...))
		}
	}
	for i := range max(len(got), len(all)) {
		if i >= len(got) || i >= len(all) || got[i] != all[i] {
			t.Errorf("event %d of %d is %q, want of %d %q", i, len(got), at(got, i), len(all), at(all, i))
			return
		}
	}
}

func at(all []string, i int) string {
	if i < len(all) {
		return all[i]
	}
	return "none"
}

func compareUsers(t *testing.T, state *replica.State, want *expected) {
	t.Helper()
	if state.Auth.Enabled() != want.Auth.Enabled {
		t.Errorf("checks are on: %v", state.Auth.Enabled())
	}
	var got, all []string
	for _, u := range state.Auth.Users() {
		got = append(got, fmt.Sprintln(u.Name, slices.Sorted(slices.Values(u.Roles))))
	}
	for _, u := range want.Auth.Users {
		all = append(all, fmt.Sprintln(u.User, u.Roles))
	}
	for _, r := range state.Auth.Roles() {
		got = append(got, fmt.Sprintln(r.Name, slices.Sorted(slices.Values(r.Read)), slices.Sorted(slices.Values(r.Write))))
	}
	for _, r := range want.Auth.Roles {
		if r.Role == "root" {
			r.Permissions.KV.Read, r.Permissions.KV.Write = []string{"/*"}, []string{"/*"} // it is built in (A3)
		}
		all = append(all, fmt.Sprintln(r.Role, r.Permissions.KV.Read, r.Permissions.KV.Write))
	}
	if len(want.Auth.Roles) == 0 {
		all = append(all, fmt.Sprintln("root", []string{"/*"}, []string{"/*"}))
	}
	if !slices.Equal(got, all) {
		t.Errorf("users and roles are\n%v\nwant\n%v", got, all)
	}
}

// TestWhatIsNoSource names what cannot be taken, and why (G1, G19).
func TestWhatIsNoSource(t *testing.T) {
	archives(t)
	peers, _ := unpack(t, "0.4.9-peers")
	removed := filepath.Join(filepath.Dir(peers[0]), "m3-removed")
	three, _ := unpack(t, "2.3.8-three")
	lone, _ := unpack(t, "3.4.23-log")
	empty, dir := t.TempDir(), t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	bolt := append(make([]byte, 16), 0xed, 0xda, 0x0c, 0xed)
	for _, c := range []struct {
		says  string
		paths []string
	}{
		{"was removed from its cluster", []string{removed}},
		{"directories of one cluster", []string{three[0], lone[0]}},
		{"is given twice", []string{lone[0], lone[0]}},
		{"this is no data directory of etcd", []string{empty}},
		{"v3 keys only", []string{write("v3", bolt)}},
		{"a 0.4 standby", []string{filepath.Dir(write("standby/standby_info", []byte("{}")))}},
		{"no such file", []string{filepath.Join(dir, "none")}},
		{"no v2 keys in it", []string{write("state", []byte(`{"Root":{"Path":"/","ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{}},"CurrentIndex":0}`))}},
	} {
		if _, _, err := Import(c.paths, Options{}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v; want it to say %q", c.paths, err, c.says)
		}
	}
	var o Options
	o.AcceptLoss = true
	if _, r, err := Import([]string{removed}, o); err != nil || !r.Partial() {
		t.Errorf("--accept-loss: %v", err)
	}
	if _, r, err := Import(three, Options{}); err != nil || !strings.Contains(fmt.Sprint(r.Notes), "chosen") {
		t.Errorf("three members: %v, %v", r, err)
	}
	for _, each := range []Options{{NoAuth: true}, {Absolute: true}} {
		state, r, err := Import(lone, each)
		if err != nil || each.NoAuth && (len(state.Auth.Users()) > 0 || !r.Partial()) || each.Absolute != (state.Time() == 0) {
			t.Errorf("%+v: time %d, %v", each, state.Time(), err)
		}
	}
}
