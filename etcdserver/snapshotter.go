package etcdserver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"time"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/internal/disk"
	"canopy/raft"
	"canopy/snap"
	"canopy/store"
)

// entryOverhead is what an entry takes in the log beside its data, roughly.
const entryOverhead = 40

// manyBytes of log are enough for a snapshot, however few entries they are.
const manyBytes = 256 << 20

// A snapshot is due when the log since the last one weighs so many times what
// the state does, or outweighs it by so many bytes.
const (
	logToState   = 16
	outweighedBy = 32 << 20
)

// snapshotter writes snapshots, one at a time, beside the apply loop. For one
// to be due at least minEntries must have been applied, too, or manyBytes. So
// its cost stays a small share of the writes however large the tree is, and a
// restart, which takes far longer to replay a byte of log than to load one of
// state, stays short: outweighedBy takes less than a second.
type snapshotter struct {
	dir      *snap.Dir
	cluster  ID
	observer *Observer
	log      memberLog

	minEntries uint64
	keep       int // snapshots kept; 0: all
	keepLogs   int // log segments kept; 0: all

	jobs     chan snapshotJob // unbuffered: a job is taken or left for later
	releases chan<- release
	space    *space
	demands  chan<- chan<- snapshotJob // to the apply loop: the present state is wanted

	// The apply loop's own.
	growth         // since the last job
	state    int64 // bytes of the last snapshot, before compression
	dice     *rand.Rand
	patience float64 // by how much the next one is put off, so that members do not all write at the same time
	finished chan int64

	newest atomic.Pointer[raft.SnapshotMeta] // saved by this process
}

// growth is what the log has grown by.
type growth struct {
	entries uint64
	bytes   int64
}

type snapshotJob struct {
	view     *store.View
	state    *applied
	sessions []*pb.Session
	saved    chan<- error // has room for one; nil: nobody waits
}

func (s *snapshotter) grown(data int) {
	s.entries++
	s.bytes += int64(data) + entryOverhead
}

// installed begins to count anew behind a snapshot that was received.
func (s *snapshotter) installed(i *installation) {
	s.growth, s.state = growth{}, i.bytes
}

// consider hands the present state to the writer if a snapshot is due. The
// apply loop calls it after each publication.
func (s *snapshotter) consider(present func() snapshotJob) {
	select {
	case s.state = <-s.finished:
	default:
	}
	due := float64(s.entries) >= float64(s.minEntries)*(1+s.patience) || s.bytes >= manyBytes
	weight := min(logToState*s.state, s.state+outweighedBy)
	if !due || float64(s.bytes) < float64(weight)*(1+s.patience) {
		return
	}
	select {
	case s.jobs <- present():
		s.growth = growth{}
		s.patience = s.dice.Float64() / 2
	default: // one is being written
	}
}

func (s *snapshotter) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return errLoopDone
		case job := <-s.jobs:
			if err := s.save(ctx, job); err != nil {
				return err
			}
		case <-s.space.short:
			if err := s.makeRoom(ctx); err != nil {
				return err
			}
		}
	}
}

// save writes one snapshot, then lets older ones and the log behind them go.
func (s *snapshotter) save(ctx context.Context, job snapshotJob) error {
	saved, err := s.write(ctx, job, false)
	if err != nil || !saved {
		return err
	}
	return s.purge(ctx)
}

// write writes one snapshot, without rests if it is hurried. A full disk, or a want
// of descriptors, only puts it off: older snapshots and the whole log are intact.
// So do a snapshot that cannot be loaded, and the end of the member, which does
// not wait for it.
func (s *snapshotter) write(ctx context.Context, job snapshotJob, hurried bool) (saved bool, err error) {
	start := time.Now()
	counter := &politeWriter{pace: pace{ctx: ctx, hurried: hurried}}
	err = s.dir.SavePaced(job.state.meta(), func(w io.Writer) error {
		counter.to = w
		return saveState(counter, s.cluster, job)
	}, func(r io.Reader) error { return s.verify(ctx, r, job, hurried) })
	if err == nil {
		s.newest.Store(&raft.SnapshotMeta{Index: job.state.index, Term: job.state.term, Configuration: job.state.config})
		s.weigh(job.state.meta())
	}
	if job.saved != nil {
		job.saved <- err
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return false, errLoopDone
	}
	if errors.Is(err, disk.ErrNoSpace) || errors.Is(err, disk.ErrScarce) {
		s.log.snapshotFailed(job.state.index, err)
		return false, nil
	}
	if errors.Is(err, snap.ErrUnusable) {
		s.log.snapshotUnusable(job.state.index, err)
		s.observer.snapshotUnusable()
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("etcdserver: save a snapshot: %w", err)
	}
	s.observer.snapshotSaved(counter.bytes, time.Since(start))
	s.log.snapshotSaved(job.state.index)
	select {
	case s.finished <- counter.bytes:
	default:
	}
	return true, nil
}

// purge keeps the log behind the second newest snapshot: should the newest be
// found damaged, the one before and the log after it are still whole (B59, R6).
// Both were loaded: by the start, when they were received, or by verify.
func (s *snapshotter) purge(ctx context.Context) error {
	if s.keep > 0 {
		if _, err := s.dir.Purge(max(2, s.keep)); err != nil {
			return fmt.Errorf("etcdserver: purge snapshots: %w", err)
		}
	}
	metas, err := s.dir.List()
	if err != nil {
		return fmt.Errorf("etcdserver: list snapshots: %w", err)
	}
	if len(metas) < 2 {
		return nil
	}
	select {
	case s.releases <- release{upTo: raft.Index(metas[1].Index), keep: s.keepLogs}:
		return nil
	case <-ctx.Done():
		return errLoopDone
	}
}

func (a *applied) meta() snap.Meta {
	return snap.Meta{Term: uint64(a.term), Index: uint64(a.index)}
}

// saveState writes | length 4 | SnapshotHead | the store's bytes |.
func saveState(w io.Writer, cluster ID, job snapshotJob) error {
	bytes, err := headOf(cluster, job.state, job.sessions).MarshalVT()
	if err != nil {
		return fmt.Errorf("encode the head: %w", err)
	}
	if _, err := w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(bytes)))); err != nil {
		return err
	}
	if _, err := w.Write(bytes); err != nil {
		return err
	}
	return job.view.Save(w)
}

// headOf is the replicated state outside the tree.
func headOf(cluster ID, state *applied, sessions []*pb.Session) *pb.SnapshotHead {
	head := &pb.SnapshotHead{
		Cluster:  uint64(cluster),
		Index:    uint64(state.index),
		Term:     uint64(state.term),
		Voters:   memberNumbers(state.config.Voters),
		Learners: memberNumbers(state.config.Learners),
		Sessions: sessions,
	}
	state.members.toProto(head)
	return head
}

// snapshotHeadMax bounds the head of a snapshot, in bytes.
const snapshotHeadMax = 16 << 20

// loadState reads what saveState wrote for this cluster.
func loadState(r io.Reader, cluster ID, o store.Options) (*installation, error) {
	counter := &countingReader{from: r}
	head, err := readHead(counter)
	if err != nil {
		return nil, err
	}
	if ID(head.Cluster) != cluster {
		return nil, &OtherClusterError{Own: cluster, Other: ID(head.Cluster)}
	}
	st, err := store.Load(counter, o)
	if err != nil {
		return nil, err
	}
	return &installation{
		store: st,
		state: applied{
			index:   raft.Index(head.Index),
			term:    raft.Term(head.Term),
			config:  raft.Configuration{Voters: raftMembers(head.Voters), Learners: raftMembers(head.Learners)},
			members: membershipFromProto(head),
		},
		sessions: sessionsFromProto(head.Sessions),
		bytes:    counter.bytes,
	}, nil
}

func readHead(r io.Reader) (*pb.SnapshotHead, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, fmt.Errorf("read the head's length: %w", err)
	}
	size := binary.BigEndian.Uint32(length[:])
	if size > snapshotHeadMax {
		return nil, fmt.Errorf("the head claims %d bytes, more than %d", size, snapshotHeadMax)
	}
	bytes := make([]byte, size)
	if _, err := io.ReadFull(r, bytes); err != nil {
		return nil, fmt.Errorf("read the head: %w", err)
	}
	var head pb.SnapshotHead
	if err := head.UnmarshalVT(bytes); err != nil {
		return nil, fmt.Errorf("decode the head: %w", err)
	}
	return &head, nil
}

func memberNumbers(ids []raft.MemberID) []uint64 {
	var numbers []uint64
	for _, id := range ids {
		numbers = append(numbers, uint64(id))
	}
	return numbers
}

func raftMembers(numbers []uint64) []raft.MemberID {
	var ids []raft.MemberID
	for _, n := range numbers {
		ids = append(ids, raft.MemberID(n))
	}
	return ids
}

// countingReader counts what passes through it.
type countingReader struct {
	from  io.Reader
	bytes int64
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.bytes += int64(n)
	return n, err
}
