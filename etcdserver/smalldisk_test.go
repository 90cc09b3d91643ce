package etcdserver

import (
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"canopy/internal/disk"
	"canopy/internal/rng"
	"canopy/store"
)

var diskBytes = flag.Int("disk-bytes", 2<<20, "the size of the disks that are filled")

// smallDisk is a member on a disk of its own.
type smallDisk struct {
	*running
	o     Options
	fs    *disk.Mem
	size  int // bytes of the disk
	value int // bytes
	rng   *rand.Rand
	keys  int
}

func newSmallDisk(t *testing.T, size, value int) *smallDisk {
	fs := disk.NewMem()
	fs.SetCapacity(int64(size))
	o := testOptions(fs)
	o.SegmentBytes = 0
	o.Heartbeat, o.Election = 100*time.Millisecond, time.Second // a request has 7 s
	return &smallDisk{running: start(t, o), o: o, fs: fs, size: size, value: value, rng: rng.New(t)}
}

// random is a value that cannot be compressed by much.
func (d *smallDisk) random() string {
	b := make([]byte, d.value/2+1)
	for i := range b {
		b[i] = byte(d.rng.Uint32())
	}
	return hex.EncodeToString(b)[:d.value]
}

// put writes a key of the disk's own.
func (d *smallDisk) put(key string) error {
	_, err := d.Do(context.Background(), store.Set{Key: mustKey(d.t, key), Value: d.random()})
	return err
}

// overwrite writes three disks' worth to keys that take a hundredth of it.
func (d *smallDisk) overwrite() {
	d.t.Helper()
	keys := max(1, min(50, d.size/100/d.value))
	value := d.random()
	d.together(func(n int) bool {
		_, err := d.Do(context.Background(), store.Set{Key: mustKey(d.t, fmt.Sprintf("/over/%d", n%keys)), Value: value[:d.value-n%10]})
		if err != nil {
			d.t.Errorf("overwrite %d: %v, with room %+v\n%v", n, err, d.Space(), d.fs)
		}
		return err == nil && n*16*(d.value+200) < 3*d.size
	})
}

// fill writes keys, with several clients at once, until all are refused.
func (d *smallDisk) fill() {
	d.t.Helper()
	var mu sync.Mutex // guards d.keys and d.rng
	d.together(func(int) bool {
		mu.Lock()
		key, value := fmt.Sprintf("/fill/%d", d.keys), d.random()
		d.keys++
		mu.Unlock()
		_, err := d.Do(context.Background(), store.Set{Key: mustKey(d.t, key), Value: value})
		if err != nil && !errors.Is(err, ErrNoSpace) {
			d.t.Errorf("fill %s: %v", key, err)
		}
		return err == nil
	})
	d.t.Logf("full with %d keys: %+v", d.keys, d.Space())
	if taken := d.keys * d.value; taken > d.size || taken < d.size/10 {
		d.t.Errorf("%d keys are %d bytes, on a disk of %d", d.keys, taken, d.size)
	}
}

// together has several clients do something as long as it returns true.
func (d *smallDisk) together(each func(n int) bool) {
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			for n := 0; each(n); n++ {
			}
		})
	}
	clients.Wait()
}

// deleteInVain fills the log several times, with what gives nothing back.
func (d *smallDisk) deleteInVain() {
	d.t.Helper()
	key := mustKey(d.t, "/missing"+hex.EncodeToString(make([]byte, 500)))
	d.together(func(n int) bool {
		_, err := d.Do(context.Background(), store.Delete{Key: key})
		var refused *store.Error
		if !errors.As(err, &refused) {
			d.t.Errorf("delete %d of a missing key on a full disk: %v, with room %+v\n%v", n, err, d.Space(), d.fs)
			return false
		}
		return n*16*1000 < 2*d.size
	})
}

// TestAFullDiskEndsByItself: overwrites never fill a disk that is large beside
// the state. One that is filled with keys refuses writes, serves deletes for as
// long as it is full, after a restart, too, and comes back when keys are deleted.
func TestAFullDiskEndsByItself(t *testing.T) {
	for _, value := range []int{100, 10_000, *diskBytes / 64} {
		t.Run(fmt.Sprintf("%d bytes, values of %d", *diskBytes, value), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := newSmallDisk(t, *diskBytes, value)
				d.overwrite()
				d.fill()
				d.deleteInVain()
				for range 3 {
					d.restart()
					d.deleteInVain()
				}
				d.fill() // a few keys may fit by now
				d.empty()
				d.overwrite()
			})
		})
	}
}

func (d *smallDisk) restart() {
	d.t.Helper()
	d.halt()
	d.running = start(d.t, d.o)
}

// empty deletes the keys one by one, and waits until writes come back.
func (d *smallDisk) empty() {
	d.t.Helper()
	for i := range d.keys {
		_, err := d.Do(context.Background(), store.Delete{Key: mustKey(d.t, fmt.Sprintf("/fill/%d", i))})
		var missing *store.Error
		if err != nil && !errors.As(err, &missing) {
			d.t.Fatalf("delete key %d: %v", i, err)
		}
	}
	eventually(d.t, "writes to come back", func() bool { return d.put("/again") == nil })
}
