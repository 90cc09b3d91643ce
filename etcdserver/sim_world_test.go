package etcdserver

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"sync"
	"sync/atomic"
	"time"

	"canopy/internal/disk"
	"canopy/raft"
)

// fate draws a number from a seed and what it is for. It has no state, so it
// does not matter which of several goroutines asks first.
func fate(seed uint64, what string, numbers ...uint64) uint64 {
	h := fnv.New64a()
	b := append(binary.LittleEndian.AppendUint64(nil, seed), what...)
	for _, n := range numbers {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	h.Write(b)
	x := h.Sum64() // splitmix64: all bits are good
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// between maps a fate to a duration: mostly near least, seldom near most.
func between(least, most time.Duration, fate uint64) time.Duration {
	part := float64(fate>>11) / (1 << 53)
	return least + time.Duration(part*part*part*float64(most-least))
}

// networkConditions is how the network of a simulation is.
type networkConditions struct {
	seed   uint64
	spikes uint64 // so many of 1000 are late

	mu    sync.Mutex             // guards the rest
	slow  map[link]time.Duration // more on these, which have no lane
	lossy map[link]uint64        // so many of 1000 are lost
}

func (w *networkConditions) change(how func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	how()
}

func (w *networkConditions) on(l link) (time.Duration, bool) {
	now := uint64(time.Now().UnixNano())
	numbers := []uint64{uint64(l.from), uint64(l.to), uint64(l.lane), now}
	delay := between(100*time.Microsecond, 10*time.Millisecond, fate(w.seed, "delay", numbers...))
	if fate(w.seed, "spike", numbers...)%1000 < w.spikes {
		delay += between(0, time.Second, fate(w.seed, "height", numbers...))
	}
	pair := link{from: l.from, to: l.to}
	w.mu.Lock()
	defer w.mu.Unlock()
	delay += w.slow[pair]
	if l.lane == snapshotLane {
		delay *= 20
	}
	return delay, fate(w.seed, "loss", numbers...)%1000 < w.lossy[pair]
}

// clear makes it fine.
func (w *networkConditions) clear() {
	w.slow, w.lossy = map[link]time.Duration{}, map[link]uint64{}
}

// slowDisk is a disk that takes its time, and that can lose power: then no
// sync that was under way succeeds.
type slowDisk struct {
	*disk.Mem
	seed  uint64
	most  atomic.Int64 // a sync takes up to so long, ns
	power atomic.Bool
}

func newSlowDisk(m *disk.Mem, seed uint64) *slowDisk {
	d := &slowDisk{Mem: m, seed: seed}
	d.most.Store(int64(10 * time.Millisecond))
	d.power.Store(true)
	return d
}

var errPowerCut = errors.New("power cut")

// sync takes as long as a sync of the disk.
func (d *slowDisk) sync(name string) error {
	what := fate(d.seed, name, uint64(time.Now().UnixNano()))
	time.Sleep(between(50*time.Microsecond, time.Duration(d.most.Load()), what))
	if !d.power.Load() {
		return errPowerCut
	}
	return nil
}

// cut is what the disk holds after the power was cut now.
func (d *slowDisk) cut(seed uint64) *disk.Mem {
	d.power.Store(false)
	return d.Mem.Crash(seed)
}

func (d *slowDisk) SyncDir(dir string) error {
	if err := d.sync(dir); err != nil {
		return err
	}
	return d.Mem.SyncDir(dir)
}

func (d *slowDisk) Create(name string) (disk.File, error) { return d.file(name, d.Mem.Create) }
func (d *slowDisk) Open(name string) (disk.File, error)   { return d.file(name, d.Mem.Open) }

func (d *slowDisk) file(name string, open func(string) (disk.File, error)) (disk.File, error) {
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	return &slowFile{f, d, name}, nil
}

type slowFile struct {
	disk.File
	disk *slowDisk
	name string
}

func (f *slowFile) Sync() error {
	if err := f.disk.sync(f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

// pairs gives every link between two members, both ways.
func pairs(ids []raft.MemberID) []link {
	var all []link
	for _, from := range ids {
		for _, to := range ids {
			if from != to {
				all = append(all, link{from: from, to: to})
			}
		}
	}
	return all
}
