package raftloop

import (
	"math"
	"sync"
	"time"

	"canopy/etcdserver/replica"
	"canopy/raft"
)

// FollowerStats is how another member follows this leader (S9). Times are from
// append to acknowledgement (S10).
type FollowerStats struct {
	ID                          replica.ID
	Success, Fail               uint64
	Current, Average, Deviation time.Duration
	Minimum, Maximum            time.Duration // 0 when nothing was measured
}

// Traffic is the log-append messages of this member since its start, empty ones included (S4).
type Traffic struct{ Received, Sent Flow }

// Flow is one direction of it.
type Flow struct {
	Messages  uint64
	PerSecond float64 // messages a second, over the latest ones; 0 when there are too few to tell (S6)
	Bandwidth float64 // bytes a second
}

// Followers measure how the others follow. The raft loop writes. Any goroutine may call the exported methods.
type Followers struct {
	// mu guards what is below, for a few lines.
	mu   sync.Mutex
	byID map[raft.MemberID]*follower
	out  flow
	in   flow
}

// measuredMax bounds the appends to one follower whose acknowledgement is timed.
const measuredMax = 64

type follower struct {
	sent    []sentAppend // without their acknowledgement, oldest first
	count   uint64
	fails   uint64
	current time.Duration
	sum     float64
	squares float64
	minimum time.Duration
	maximum time.Duration
}

type sentAppend struct {
	last raft.Index
	at   time.Time
}

func newFollowers() *Followers { return &Followers{byID: map[raft.MemberID]*follower{}} }

func (f *Followers) of(id raft.MemberID) *follower {
	each, ok := f.byID[id]
	if !ok {
		each = &follower{}
		f.byID[id] = each
	}
	return each
}

// sent records an append that is sent.
func (f *Followers) sent(to raft.MemberID, m raft.Append, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.out.add(m, now)
	each := f.of(to)
	if len(m.Entries) > 0 && len(each.sent) < measuredMax {
		each.sent = append(each.sent, sentAppend{m.PrevIndex + raft.Index(len(m.Entries)), now})
	}
}

// received records an append that came.
func (f *Followers) received(m raft.Append, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.in.add(m, now)
}

// acknowledged records how far a follower is.
func (f *Followers) acknowledged(from raft.MemberID, match raft.Index, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	each, ok := f.byID[from]
	if !ok {
		return
	}
	n := 0
	for ; n < len(each.sent) && each.sent[n].last <= match; n++ {
		each.measured(now.Sub(each.sent[n].at))
	}
	each.sent = append(each.sent[:0], each.sent[n:]...)
}

func (f *follower) measured(d time.Duration) {
	if f.count == 0 || d < f.minimum {
		f.minimum = d
	}
	f.count++
	f.current = d
	f.maximum = max(f.maximum, d)
	f.sum += float64(d)
	f.squares += float64(d) * float64(d)
}

// lost records that messages to a member were lost.
func (f *Followers) lost(id raft.MemberID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	each := f.of(id)
	each.fails++
	each.sent = each.sent[:0]
}

// clear forgets the appends without an acknowledgement.
func (f *Followers) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, each := range f.byID {
		each.sent = each.sent[:0]
	}
}

// Keep forgets who is no member any more.
func (f *Followers) Keep(m *replica.Membership) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id := range f.byID {
		if _, there := m.Members[replica.ID(id)]; !there {
			delete(f.byID, id)
		}
	}
}

// Stats tells how members follow this one.
func (f *Followers) Stats(ids []replica.ID) []FollowerStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []FollowerStats
	for _, id := range ids {
		all = append(all, f.of(id.Raft()).stats(id))
	}
	return all
}

func (f *follower) stats(id replica.ID) FollowerStats {
	s := FollowerStats{ID: id, Success: f.count, Fail: f.fails, Current: f.current, Minimum: f.minimum, Maximum: f.maximum}
	if f.count > 0 {
		mean := f.sum / float64(f.count)
		s.Average = time.Duration(mean)
		s.Deviation = time.Duration(math.Sqrt(max(0, f.squares/float64(f.count)-mean*mean)))
	}
	return s
}

// Traffic counts append messages since the start (S4).
func (f *Followers) Traffic() Traffic {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	return Traffic{Received: f.in.flow(now), Sent: f.out.flow(now)}
}

// flow counts the messages of one direction, and remembers the latest.
type flow struct {
	messages uint64
	latest   [latestMax]sizedMessage // a ring
}

const (
	latestMax = 200         // messages that a rate is taken over
	flowStale = time.Second // after the latest one there is no rate
)

type sizedMessage struct {
	at    time.Time
	bytes int
}

func (f *flow) add(m raft.Append, now time.Time) {
	bytes := 0
	for i := range m.Entries {
		bytes += len(m.Entries[i].Data)
	}
	f.latest[f.messages%latestMax] = sizedMessage{now, bytes}
	f.messages++
}

// flow gives the counts, and the rates if there are two messages to tell them by.
func (f *flow) flow(now time.Time) Flow {
	result := Flow{Messages: f.messages}
	n := min(f.messages, latestMax)
	if n < 2 || now.Sub(f.latest[(f.messages-1)%latestMax].at) > flowStale {
		return result
	}
	span := f.latest[(f.messages-1)%latestMax].at.Sub(f.latest[(f.messages-n)%latestMax].at).Seconds()
	if span <= 0 {
		return result
	}
	bytes := 0
	for i := f.messages - n + 1; i < f.messages; i++ {
		bytes += f.latest[i%latestMax].bytes
	}
	result.PerSecond, result.Bandwidth = float64(n-1)/span, float64(bytes)/span
	return result
}
