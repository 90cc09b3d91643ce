package upstream

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"canopy/client/membertest"
	"canopy/internal/disk"
	"canopy/proxy/clustertest"
)

// R104, P6: the list is written atomically, and a list that was damaged otherwise is refused with advice.
func TestClusterFileThatWasCut(t *testing.T) {
	const path = "/data/proxy/cluster"
	fsys := disk.NewMem()
	file := newClusterFile(fsys, "/data/proxy")
	known := &record{PeerURLs: []string{"http://127.0.0.1:1", "http://127.0.0.1:2"}, ClientURLs: []string{"http://127.0.0.1:3"}, ClusterID: 0xabc}
	if err := file.write(known); err != nil {
		t.Fatal(err)
	}
	whole, err := disk.ReadFile(fsys, path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		cut := disk.NewMem()
		if err := cut.MkdirAll("/data/proxy"); err != nil {
			t.Fatal(err)
		}
		if err := disk.WriteFile(cut, path, whole[:n]); err != nil {
			t.Fatal(err)
		}
		u, err := New(Options{FS: cut, Dir: "/data/proxy"})
		var refused *ClusterFileError
		switch {
		case err == nil && (len(u.known.PeerURLs) != 2 || u.known.ClusterID != 0xabc):
			t.Errorf("R104: %q was taken for %+v", whole[:n], u.known)
		case err != nil && (!errors.As(err, &refused) || !strings.Contains(err.Error(), "delete the file")):
			t.Errorf("R104: %q: %v", whole[:n], err)
		}
	}
	// After a loss of power at any moment there is the old list or the new one.
	for seed := range uint64(50) {
		crashed := fsys.Clone()
		if err := newClusterFile(crashed, "/data/proxy").write(&record{PeerURLs: []string{"http://127.0.0.1:3"}, ClusterID: 0xabc}); err != nil {
			t.Fatal(err)
		}
		if _, err := New(Options{FS: crashed.Crash(seed), Dir: "/data/proxy"}); err != nil {
			t.Errorf("R104: seed %d: %v", seed, err)
		}
	}
	for name, text := range map[string]string{"no peers": `{"PeerURLs":[]}`, "a bad id": `{"PeerURLs":["a"],"ClusterID":"x"}`, "empty": "", "null": "null"} {
		if _, err := parseRecord([]byte(text)); err == nil {
			t.Errorf("%s: %q was taken", name, text)
		}
	}
	if old, err := parseRecord([]byte(`{"PeerURLs":["http://127.0.0.1:1"]}`)); err != nil || old.ClusterID != 0 || old.ClientURLs != nil {
		t.Errorf("the reference's file: %+v, %v", old, err)
	}
}

// P3, P5, P9: the list is kept, replaces the flags, and is doubted only when nobody has answered for long.
func TestTheClusterIsRemembered(t *testing.T) {
	cluster, fsys := membertest.Start(t, 2), disk.NewMem()
	keep := func(o *Options) { o.FS = fsys }
	s := newSite(t, cluster.PeerURLs()[:1], keep).await(2)
	if s.Known() {
		t.Error("a new cluster is known")
	}
	clustertest.Eventually(t, "the list", func() bool {
		known, err := s.file.read()
		return err == nil && known != nil && len(known.PeerURLs) == 2
	})
	s.stop()
	cluster.Members[0].Stop()
	again := newSite(t, []string{"http://127.0.0.1:1"}, keep).await(1)
	if !again.Known() || !strings.Contains(again.log.String(), "from cluster file") {
		t.Error("after a restart the cluster is not known")
	}
	doubting := &refresher{u: again.Cluster, known: &record{PeerURLs: []string{"http://b:1"}}, answered: time.Now()}
	if got := doubting.peers(soon(t)); !slices.Equal(got, []string{"http://b:1"}) {
		t.Errorf("P3: %v", got)
	}
	doubting.answered = time.Now().Add(-doubtAfter)
	if got := doubting.peers(soon(t)); !slices.Equal(got, []string{"http://127.0.0.1:1", "http://b:1"}) {
		t.Errorf("P5: after a minute: %v", got)
	}
}
