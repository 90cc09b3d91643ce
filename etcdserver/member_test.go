package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"canopy/internal/disk"
	"canopy/store"
	"canopy/store/watch"
)

// running is a member of a cluster of one, and its end.
type running struct {
	*Member
	t    *testing.T
	stop context.CancelFunc
	done chan error
}

func quietLog() *logrus.Logger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return l
}

func testOptions(fs disk.FS) Options {
	return Options{
		FS: fs, DataDir: "/data", Name: "default", ClientURLs: []string{"http://127.0.0.1:2379"},
		Bootstrap: func() (Bootstrap, error) {
			return Bootstrap{Cluster: map[string][]string{"default": {"http://localhost:2380"}}, Token: "etcd-cluster"}, nil
		},
		Heartbeat: 10 * time.Millisecond, Election: 100 * time.Millisecond,
		SegmentBytes: 64 << 10, Log: quietLog(), Transport: newNetwork().transport,
	}
}

// start opens and runs a member, and waits until it serves.
func start(t *testing.T, o Options) *running {
	t.Helper()
	m, err := Open(o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{Member: m, t: t, stop: stop, done: make(chan error, 1)}
	go func() { r.done <- m.Run(ctx) }()
	t.Cleanup(func() { stop(); <-m.Stopped() })
	select {
	case <-m.Ready():
	case err := <-r.done:
		t.Fatalf("Run: %v", err)
	case <-time.After(hang):
		t.Fatal("the member is not ready")
	}
	return r
}

func (r *running) halt() {
	r.t.Helper()
	r.stop()
	if err := <-r.done; err != nil {
		r.t.Fatalf("Run: %v", err)
	}
}

func (r *running) set(key, value string) Applied {
	r.t.Helper()
	applied, err := r.Do(context.Background(), store.Set{Key: mustKey(r.t, key), Value: value})
	if err != nil {
		r.t.Fatalf("set %s: %v", key, err)
	}
	return applied
}

func mustKey(t *testing.T, raw string) store.Key {
	t.Helper()
	k, err := store.ParseKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// dump is the tree and its indexes, without deadlines: a restart moves these.
func dump(t *testing.T, v *store.View) string {
	t.Helper()
	l, err := v.Get(store.Key{}, store.ReadOptions{Recursive: true, Sorted: true})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(v.Index(), string(l.AppendJSON(nil)))
}

// A fresh cluster of one has counted its member, its publication and its
// version (K46): the first write has index 4.
func TestAFreshMemberCountsItsOwnChanges(t *testing.T) {
	m := start(t, testOptions(disk.NewMem()))
	if got := m.View(); got != 3 {
		t.Errorf("index of a fresh member = %d, want 3", got)
	}
	if got := m.set("k", "1").Event.Index(); got != 4 {
		t.Errorf("index of the first write = %d, want 4", got)
	}
	members := m.Members()
	if len(members) != 1 || members[0].Name != "default" || members[0].ID.String() != "8e9e05c52164694d" {
		t.Errorf("members = %+v", members)
	}
	if m.ClusterVersion() != ClusterVersion || m.Leader() != m.ID() {
		t.Errorf("version %q, leader %v", m.ClusterVersion(), m.Leader())
	}
}

// View is the store index that readers see.
func (r *running) View() store.Index {
	v, err := r.Read(context.Background(), true)
	if err != nil {
		r.t.Fatal(err)
	}
	return v.Index()
}

// State after snapshot and log equals state after the whole log (K134), and
// the index goes on with the publication of the restart (K133).
func TestRestartFromSnapshotAndLog(t *testing.T) {
	for _, entries := range []uint64{10, 1_000_000} {
		t.Run(fmt.Sprintf("a snapshot every %d entries", entries), func(t *testing.T) {
			fs := disk.NewMem()
			o := testOptions(fs)
			o.SnapshotEntries, o.MaxSnapshots, o.MaxLogs = entries, 3, 2
			m := start(t, o)
			for i := range 500 {
				m.set(fmt.Sprintf("dir/%d", i%50), fmt.Sprint(i))
			}
			before, err := m.Read(context.Background(), true)
			if err != nil {
				t.Fatal(err)
			}
			want := dump(t, before)
			m.halt()
			again := start(t, o)
			after, err := again.Read(context.Background(), true)
			if err != nil {
				t.Fatal(err)
			}
			if after.Index() != before.Index()+1 {
				t.Errorf("index after restart = %d, want %d", after.Index(), before.Index()+1)
			}
			got := dump(t, after)
			if got[len(fmt.Sprint(after.Index())):] != want[len(fmt.Sprint(before.Index())):] {
				t.Errorf("after restart:\n%s\nwant:\n%s", got, want)
			}
			w, err := again.Watch(mustKey(t, "dir"), watch.Options{Recursive: true, Since: 4})
			if err != nil {
				t.Fatalf("watch from the first write: %v", err)
			}
			if e, err := w.Next(context.Background()); err != nil || e.Index() != 4 {
				t.Errorf("first event = %v, %v, want index 4", e, err)
			}
		})
	}
}

// Nothing acknowledged is lost in a power cut: what a disk keeps of unsynced
// bytes is left to chance (R10).
func TestAcknowledgedWritesSurvivePowerCuts(t *testing.T) {
	for seed := range uint64(30) {
		fs := disk.NewMem()
		o := testOptions(fs)
		o.SnapshotEntries, o.MaxSnapshots, o.MaxLogs = 20, 2, 1
		m := start(t, o)
		var last Applied
		for i := range 100 {
			last = m.set(fmt.Sprint(i%10), fmt.Sprint(i))
		}
		after := fs.Crash(seed)
		m.halt()
		o.FS = after
		again := start(t, o)
		v, err := again.Read(context.Background(), true)
		if err != nil {
			t.Fatal(err)
		}
		if v.Index() < last.Event.Index() {
			t.Fatalf("crash with seed %d: index %d after %d was acknowledged", seed, v.Index(), last.Event.Index())
		}
		for i := 90; i < 100; i++ {
			l, err := v.Get(mustKey(t, fmt.Sprint(i%10)), store.ReadOptions{})
			if err != nil {
				t.Fatalf("crash with seed %d: key %d: %v", seed, i%10, err)
			}
			want := fmt.Sprintf(`"value":"%d"`, i)
			if got := string(l.AppendJSON(nil)); !strings.Contains(got, want) {
				t.Fatalf("crash with seed %d: %s, want %s", seed, got, want)
			}
		}
		again.halt()
	}
}

// A failed sync ends the member: a second try could lie (design 6).
func TestAFailedSyncStopsTheMember(t *testing.T) {
	fs := disk.NewMem()
	m := start(t, testOptions(fs))
	m.set("k", "1")
	broken := errors.New("the disk is broken")
	fs.Inject(disk.Fault{Op: disk.OpSync, Path: "*.wal", Err: broken})
	if _, err := m.Do(context.Background(), store.Set{Key: mustKey(t, "k"), Value: "2"}); !errors.Is(err, ErrStopped) {
		t.Errorf("a write whose sync failed = %v, want %v", err, ErrStopped)
	}
	if err := <-m.done; !errors.Is(err, broken) {
		t.Errorf("Run = %v, want %v", err, broken)
	}
	m.done <- nil
}

// A read that waits for entries to be applied is not left waiting when its member ends.
func TestAReadEndsWithItsMember(t *testing.T) {
	m := start(t, testOptions(disk.NewMem()))
	ended := make(chan error, 1)
	go func() { ended <- m.apply.Wait(context.Background(), math.MaxUint64) }()
	m.halt()
	if err := <-ended; !errors.Is(err, ErrStopped) {
		t.Errorf("the read ended with %v, want %v", err, ErrStopped)
	}
}

// A damaged newest snapshot is put aside, and the one before is used with the
// log behind it (R6, B59).
func TestADamagedSnapshotIsPutAside(t *testing.T) {
	fs := disk.NewMem()
	o := testOptions(fs)
	o.SnapshotEntries, o.MaxSnapshots, o.MaxLogs = 20, 5, 1
	m := start(t, o)
	writes := 0
	for begin := time.Now(); len(snapshots(t, fs)) < 2; writes++ {
		if time.Since(begin) > hang {
			t.Fatalf("%d snapshots after %d writes, want 2", len(snapshots(t, fs)), writes)
		}
		m.set("k", fmt.Sprint(writes))
	}
	m.halt()
	names := snapshots(t, fs)
	if err := fs.Flip("/data/member/snap/"+names[len(names)-1], 300); err != nil {
		t.Fatal(err)
	}
	again := start(t, o)
	v, err := again.Read(context.Background(), true)
	if err != nil {
		t.Fatal(err)
	}
	if got := dump(t, v); !strings.Contains(got, fmt.Sprintf(`"value":"%d"`, writes-1)) {
		t.Errorf("after the damage: %s", got)
	}
}

func snapshots(t *testing.T, fs disk.FS) []string {
	t.Helper()
	names, err := fs.List("/data/member/snap")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, ".snap") })
}

// Time without a leader does not count for deadlines (R51): a key whose
// deadline passes while the member is down is still there after it is back,
// and expires when the rest of its time has passed.
func TestDowntimeMovesDeadlines(t *testing.T) {
	fs := disk.NewMem()
	m := start(t, testOptions(fs))
	if _, err := m.Do(context.Background(), store.Set{Key: mustKey(t, "k"), Value: "1", TTL: store.TTL{Set: true, Seconds: 1}}); err != nil {
		t.Fatal(err)
	}
	m.halt()
	<-time.After(1200 * time.Millisecond)
	again := start(t, testOptions(fs))
	v, err := again.Read(context.Background(), true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Get(mustKey(t, "k"), store.ReadOptions{}); err != nil {
		t.Fatalf("the key did not outlive the time without a leader: %v", err)
	}
	w, err := again.Watch(mustKey(t, "k"), watch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if e, err := w.Next(ctx); err != nil || e.Action() != watch.ActionExpire {
		t.Errorf("event = %v, %v, want the expiry", e, err)
	}
	if at, ok := again.apply.NextDeadline(); ok {
		t.Errorf("a deadline at %d is waited for, though no key has one", at)
	}
}

// The log of a member that was begun with --wal-dir is found without it, and
// if it is gone, no new member begins in its place (B8).
func TestTheLogDirectoryIsRemembered(t *testing.T) {
	fs := disk.NewMem()
	o := testOptions(fs)
	o.WALDir = "/elsewhere"
	m := start(t, o)
	m.set("k", "1")
	m.halt()
	o.WALDir = ""
	again := start(t, o)
	if got := tree(t, again); !strings.Contains(got, `"value":"1"`) {
		t.Errorf("without --wal-dir: %s", got)
	}
	again.halt()
	o.WALDir = "/nowhere"
	var refused *DataDirError
	if _, err := Open(o); !errors.As(err, &refused) || !strings.Contains(err.Error(), "--wal-dir") {
		t.Errorf("Open with another --wal-dir = %v, want a refusal", err)
	}
}
