package memory

import (
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"
)

const mib = 1 << 20

func TestOneThirdTooMuchIsRefused(t *testing.T) {
	refused := 0
	b := New(8*mib, func(Reason) { refused++ })
	if !b.Take(7*mib) || b.Take(1) || b.Take(-b.Used()+8*mib) {
		t.Error("Take gives the reserve away, or not all else")
	}
	if !b.TakeReserved(mib) || b.TakeReserved(1) {
		t.Error("a connection does not get the reserve, or gets more")
	}
	b.Give(8 * mib)
	if b.Used() != 0 || refused != 3 {
		t.Errorf("%d bytes are used and %d takers were refused", b.Used(), refused)
	}
	if got := b.Share(100 * mib); got != 4*mib || !b.Take(got) {
		t.Errorf("a request of 100 MiB counts %d, or is refused", got)
	}
}

// TestALargeRefusalRefusesNobodyElse: what does not fit is never counted, not even for a moment.
func TestALargeRefusalRefusesNobodyElse(t *testing.T) {
	b := New(8<<20, nil)
	ended := make(chan struct{})
	var large sync.WaitGroup
	large.Go(func() {
		for {
			select {
			case <-ended:
				return
			default:
			}
			if b.Try(16 << 20) {
				t.Error("16 MiB of 8 were given")
				return
			}
		}
	})
	for range 200_000 {
		if !b.Take(1 << 10) {
			t.Error("1 KiB of 8 MiB was refused beside a request for 16 MiB")
			break
		}
		b.Give(1 << 10)
	}
	close(ended)
	large.Wait()
}

// TestStalledClientsAreCutOff: those that take their answers stay, those that stall longest go first, and no more of
// them than have to.
func TestStalledClientsAreCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cutOff := 0
		b := New(80*mib, func(r Reason) {
			if r == CutOff {
				cutOff++
			}
		})
		var cut []int
		var holds []*Hold
		for i := range 7 {
			h, ok := b.Hold(Answer{Own: 10 * mib, Cut: func() { cut = append(cut, i) }})
			if !ok {
				t.Fatalf("answer %d was refused", i)
			}
			holds = append(holds, h)
			time.Sleep(100 * time.Millisecond)
		}
		if b.Take(10 * mib); len(cut) != 0 {
			t.Errorf("%v were cut off though none has stalled", cut)
		}
		time.Sleep(stalledAfter)
		holds[0].Progress()
		if b.Take(15 * mib) {
			t.Error("there is no room yet")
		}
		if len(cut) != 2 || cut[0] != 1 || cut[1] != 2 || cutOff != 2 {
			t.Errorf("%v were cut off, want 1 and 2", cut)
		}
		holds[1].End()
		holds[2].End()
		if !b.Take(15 * mib) {
			t.Error("what was given back cannot be taken")
		}
	})
}

// TestWhoStallsUnderPressureIsCutOff: the heap is nearly as large as the process may be, whatever was counted.
func TestWhoStallsUnderPressureIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(80*mib, nil)
		cut := 0
		stalled := b.HoldAnyway(Answer{Own: mib, Cut: func() { cut++ }})
		time.Sleep(stalledAfter)
		busy := b.HoldAnyway(Answer{Own: mib, Cut: func() { t.Error("one that takes its answer was cut off") }})
		for _, calm := range []Limit{{}, {Bytes: 512 * mib}} {
			if b.ease(300*mib, calm); cut != 0 {
				t.Errorf("under %+v a client was cut off", calm)
			}
		}
		b.ease(320*mib, Limit{Bytes: 512 * mib})
		if cut != 1 || !stalled.Over() || busy.Over() {
			t.Errorf("under pressure %d were cut off", cut)
		}
	})
}

// TestWhatIsSharedCountsOnce: many clients take one value.
func TestWhatIsSharedCountsOnce(t *testing.T) {
	b := New(80*mib, nil)
	value := new(int)
	var holds []*Hold
	for range 40 {
		h, ok := b.Hold(Answer{Own: mib, Shared: value, Bytes: 10 * mib, Cut: func() {}})
		if !ok {
			t.Fatalf("refused with %d MiB in use", b.Used()/mib)
		}
		holds = append(holds, h)
	}
	if b.Used() != 50*mib {
		t.Errorf("%d MiB are in use, want 50", b.Used()/mib)
	}
	if _, ok := b.Hold(Answer{Own: mib, Shared: new(int), Bytes: 30 * mib, Cut: func() {}}); ok {
		t.Error("another large value has room")
	}
	holds = append(holds, b.HoldAnyway(Answer{Shared: new(int), Bytes: 50 * mib, Cut: func() {}}))
	if !b.Exhausted() || b.Used() != 100*mib {
		t.Errorf("%d MiB are in use, want 100", b.Used()/mib)
	}
	for _, h := range holds {
		h.End()
	}
	if b.Used() != 0 {
		t.Errorf("%d bytes are left", b.Used())
	}
}

func TestLimitsOfCgroups(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for name, c := range map[string]struct {
		files fstest.MapFS
		want  int64
	}{
		"nothing is told": {fstest.MapFS{}, 0},
		"version 2": {fstest.MapFS{
			"proc/self/cgroup":              file("0::/a/b\n"),
			"sys/fs/cgroup/a/b/memory.max":  file("536870912\n"),
			"sys/fs/cgroup/a/b/memory.high": file("1\n"),
		}, 512 * mib},
		"version 2, the limit is further up": {fstest.MapFS{
			"proc/self/cgroup":             file("0::/a/b\n"),
			"sys/fs/cgroup/a/b/memory.max": file("max\n"),
			"sys/fs/cgroup/a/memory.max":   file("1048576\n"),
		}, mib},
		"version 2, no limit": {fstest.MapFS{
			"proc/self/cgroup":         file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("max\n"),
		}, 0},
		"version 1": {fstest.MapFS{
			"proc/self/cgroup": file("4:memory:/x\n3:cpu,cpuacct:/y\n0::/\n"),
			"sys/fs/cgroup/memory/x/memory.limit_in_bytes": file("2097152\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes":   file("9223372036854771712\n"),
		}, 2 * mib},
		"version 1, the path of the host in a container": {fstest.MapFS{
			"proc/self/cgroup":                           file("4:memory:/docker/0123\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("3145728\n"),
		}, 3 * mib},
		"garbage": {fstest.MapFS{
			"proc/self/cgroup":         file("memory\n\n0::/../..\n"),
			"sys/fs/cgroup/memory.max": file("-5\n"),
		}, 0},
	} {
		if got := cgroupLimit(c.files); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestDefaultsFollowTheLimit(t *testing.T) {
	machine := fstest.MapFS{
		"proc/meminfo":     {Data: []byte("MemFree: 1 kB\nMemTotal:   8388608 kB\n")},
		"proc/self/cgroup": {Data: []byte("0::/\n")},
	}
	if l := FindLimit(machine); l.Bytes == 8<<30 && l.Budget() != 1<<30 {
		t.Errorf("%+v gives a budget of %d", l, l.Budget())
	}
	machine["sys/fs/cgroup/memory.max"] = &fstest.MapFile{Data: []byte("16777216\n")}
	if l := FindLimit(machine); l.Bytes != 16*mib || !l.Hard || l.Budget() != 16*mib {
		t.Errorf("%+v gives a budget of %d", l, l.Budget())
	}
	if got := (Limit{Bytes: 512 * mib, Hard: true}).Budget(); got != 128*mib {
		t.Errorf("under 512 MiB the budget is %d", got)
	}
	if got := (Limit{}).Budget(); got != 256*mib {
		t.Errorf("without a limit the budget is %d", got)
	}
}
