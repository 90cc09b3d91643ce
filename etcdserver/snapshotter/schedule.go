package snapshotter

import (
	"math/rand/v2"

	"canopy/etcdserver/datadir"
	"canopy/etcdserver/replica"
)

// manyBytes of log are enough for a snapshot, however few entries they are.
const manyBytes = 256 << 20

// A snapshot is due when the log since the last one has so many times the bytes of
// the state, or so many bytes more than it.
const (
	logToState = 16
	aboveState = 32 << 20
)

// Schedule decides when the next snapshot is due. At least MinEntries must have been
// applied, or manyBytes, and the log must be long, compared with the state. So the cost
// of snapshots stays a small share of the writes however large the tree is. A restart
// stays short, too, although it takes far longer to replay a byte of log than to load
// one of state: it replays aboveState bytes in less than a second.
//
// The apply loop owns it: no other goroutine calls its methods.
type Schedule struct {
	ScheduleOptions
	front    *Front
	patience float64 // by how much the next one is put off, so that members do not all write at the same time
}

// ScheduleOptions say what a Schedule begins with.
type ScheduleOptions struct {
	MinEntries uint64         // between two snapshots
	State      int64          // bytes of the last snapshot, before compression
	Growth     datadir.Growth // the log since the last snapshot
	Random     *rand.Rand
}

// NewSchedule makes a schedule for the snapshotter of a front.
func NewSchedule(f *Front, o ScheduleOptions) *Schedule {
	return &Schedule{ScheduleOptions: o, front: f}
}

// Add counts an entry of so many bytes.
func (s *Schedule) Add(bytes int) { s.Growth.Add(bytes) }

// Installed begins to count anew after a snapshot of so many bytes, which was received.
func (s *Schedule) Installed(bytes int64) { s.Growth, s.State = datadir.Growth{}, bytes }

// Consider gives the present state to the snapshotter if a snapshot is due. The apply
// loop calls it after each publication.
func (s *Schedule) Consider(present func() replica.Snapshot) {
	select {
	case s.State = <-s.front.saved:
	default:
	}
	due := float64(s.Growth.Entries) >= float64(s.MinEntries)*(1+s.patience) || s.Growth.Bytes >= manyBytes
	weight := min(logToState*s.State, s.State+aboveState)
	if !due || float64(s.Growth.Bytes) < float64(weight)*(1+s.patience) {
		return
	}
	select {
	case s.front.jobs <- job{Snapshot: present()}:
		s.Growth = datadir.Growth{}
		s.patience = s.Random.Float64() / 2
	default: // one is being written
	}
}
