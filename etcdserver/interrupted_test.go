package etcdserver

import (
	"testing"

	"canopy/etcdserver/firststart"
	"canopy/internal/disk"
)

// A first start that is cut short, at whatever point and whatever the disk
// keeps of it, is a first start the next time, or was one: the member knows all
// members, and is itself (B14, R43).
func TestAFirstStartIsCutShort(t *testing.T) {
	first := Bootstrap{Cluster: map[string][]string{"default": {"http://localhost:2380"}, "m2": {"http://m2:2380"}, "m3": {"http://m3:2380"}}, Token: "cut"}
	begin := func(fs disk.FS) (*Member, error) {
		o := testOptions(fs)
		o.Bootstrap = func() (Bootstrap, error) { return first, nil }
		return Open(o)
	}
	self := firststart.MemberIDOf(first.Cluster["default"], first.Token)
	cut := 0
	for nth := 1; ; nth++ {
		fs := disk.NewMem()
		fs.Inject(disk.Fault{Op: disk.AnyChange, Nth: nth, Dead: true})
		if m, err := begin(fs); err == nil {
			m.Close()
			break
		}
		cut++
		for seed := range uint64(20) {
			after := fs.Crash(seed)
			if seed == 0 {
				after = fs.Clone() // killed, with the power on
			}
			m, err := begin(after)
			if err != nil {
				t.Fatalf("cut at change %d, seed %d: the next start fails: %v", nth, seed, err)
			}
			if got := m.Status(); m.ID() != self || got.Commit != 3 {
				t.Errorf("cut at change %d, seed %d: it starts as %v of %v, at %+v", nth, seed, m.ID(), m.ClusterID(), got)
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if cut < 10 {
		t.Errorf("a first start has %d points at which it can be cut short: is it tried at all?", cut)
	}
}
