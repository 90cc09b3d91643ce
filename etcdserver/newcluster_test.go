package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"canopy/etcdserver/datadir"
	"canopy/internal/disk"
)

// lostCluster gives the data directory of one member of a cluster of three
// that has written a few keys and is gone.
func lostCluster(t *testing.T) Options {
	t.Helper()
	root := t.TempDir()
	c := newTestCluster(t, 3, func(o *Options) { o.FS, o.DataDir, o.SnapshotEntries = disk.OS{}, filepath.Join(root, o.Name), 20 })
	for n := range 50 {
		c.leader().set(fmt.Sprintf("/k%d", n), "1")
	}
	c.agree()
	for _, m := range c.members {
		m.halt()
	}
	o := testOptions(disk.OS{})
	o.DataDir, o.Name, o.ClientURLs = filepath.Join(root, "m1"), "m1", []string{"http://m1:2379"}
	o.SnapshotEntries = 20
	o.AutoPromote = true
	return o
}

// One member of a lost cluster becomes a new cluster with all keys, under a new
// cluster id and alone; the flag has no second effect, and is refused once
// there are others (B45, B47, R14).
func TestForceNewCluster(t *testing.T) {
	o := lostCluster(t)
	o.Force = datadir.ForceOnce
	m := start(t, o)
	cluster, index := m.ClusterID(), m.View()
	m.set("/after", "1")
	for _, key := range []string{"/k0", "/k49", "/after"} {
		m.mustHold(key, "1")
	}
	if n := len(m.Members()); n != 1 || m.Members()[0].PeerURLs[0] != "http://m1:2380" {
		t.Errorf("%d members, the first at %v", n, m.Members()[0].PeerURLs)
	}
	if index < 50 {
		t.Errorf("the index is %d: it began again", index)
	}
	m.halt()
	again := start(t, o)
	if again.ClusterID() != cluster {
		t.Error("a second start with the flag founded another cluster")
	}
	again.mustHold("/after", "1")
	if _, err := again.AddMember(context.Background(), []string{"http://m2:2380"}); err != nil {
		t.Fatal(err)
	}
	again.halt()
	var refused *DataDirError
	if _, err := Open(o); !errors.As(err, &refused) || !strings.Contains(err.Error(), "has 2 members again") {
		t.Fatalf("with members added since: %v, want a refusal", err)
	}
	o.Force = datadir.ForceAgain
	alone := start(t, o)
	alone.mustHold("/after", "1")
	if n := len(alone.Members()); n != 1 || alone.ClusterID() == cluster {
		t.Errorf("after =again: %d members in cluster %v", n, alone.ClusterID())
	}
}

// A crash at either point of the replacement leaves a directory that starts.
func TestForceNewClusterThatWasCutShort(t *testing.T) {
	o := lostCluster(t)
	member, next := filepath.Join(o.DataDir, "member"), filepath.Join(o.DataDir, "member.new")
	if err := os.MkdirAll(next, 0o700); err != nil { // it had just begun
		t.Fatal(err)
	}
	m := start(t, func() Options { forced := o; forced.Force = datadir.ForceOnce; return forced }())
	m.halt()
	if err := os.Rename(member, next); err != nil { // the old one is gone, the new one has no name yet
		t.Fatal(err)
	}
	m = start(t, o)
	m.mustHold("/k49", "1")
}
