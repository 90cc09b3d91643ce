package replica

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/raft"
	"canopy/store"
)

// Snapshot is a state as of one entry, ready to be saved beside the entries that
// follow. It is immutable.
type Snapshot struct {
	View *store.View
	Head *Head

	cluster  ID
	sessions []*pb.Session
}

// Snapshot gives the state as of what the store published last.
func (s *State) Snapshot() Snapshot {
	head := s.Head
	return Snapshot{View: s.Store.View(), Head: &head, cluster: s.cluster, sessions: s.sessions.toProto()}
}

// Hash is what members compare: of the store, and of what stands at the head of a
// snapshot.
func (s *State) Hash() (uint64, error) {
	head, err := headOf(s.cluster, &s.Head, s.sessions.toProto()).MarshalVT()
	if err != nil {
		return 0, fmt.Errorf("hash the state at %d: %w", s.Index, err)
	}
	return s.Store.Hash() + xxhash.Sum64(head), nil
}

// Save writes | length 4 | SnapshotHead | the store's bytes |.
func (s Snapshot) Save(w io.Writer) error {
	head, err := s.head().MarshalVT()
	if err != nil {
		return fmt.Errorf("encode the head: %w", err)
	}
	if _, err := w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(head)))); err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	return s.View.Save(w)
}

// Verify reads what Save wrote with the code of Load, keeps nothing of it, and
// tells whether Load would give this state.
func (s Snapshot) Verify(r io.Reader) error {
	head, err := readHead(r)
	if err != nil {
		return err
	}
	got, err := head.MarshalVT()
	if err != nil {
		return fmt.Errorf("encode the head that was read: %w", err)
	}
	saved, err := s.head().MarshalVT()
	if err != nil {
		return fmt.Errorf("encode the head that was saved: %w", err)
	}
	if !bytes.Equal(got, saved) {
		return errors.New("its head is not the one that was saved")
	}
	hash, err := store.Verify(r)
	if err != nil {
		return err
	}
	if want := s.View.Hash(); hash != want {
		return fmt.Errorf("it holds a tree with the hash %x, and not the one that was saved, %x", hash, want)
	}
	return nil
}

func (s Snapshot) head() *pb.SnapshotHead { return headOf(s.cluster, s.Head, s.sessions) }

// headOf is the replicated state outside the tree.
func headOf(cluster ID, h *Head, sessions []*pb.Session) *pb.SnapshotHead {
	head := &pb.SnapshotHead{
		Cluster:  uint64(cluster),
		Index:    uint64(h.Index),
		Term:     uint64(h.Term),
		Voters:   memberNumbers(h.Config.Voters),
		Learners: memberNumbers(h.Config.Learners),
		Sessions: sessions,
		Auth:     authToProto(h.Auth),
	}
	h.Members.toProto(head)
	return head
}

// headMax bounds the head of a snapshot, in bytes.
const headMax = 16 << 20

// OtherClusterError is data of another cluster.
type OtherClusterError struct{ Own, Other ID }

// Error names both.
func (e *OtherClusterError) Error() string {
	return fmt.Sprintf("this is data of cluster %v, not of %v", e.Other, e.Own)
}

// Load reads what Save wrote for this cluster, and gives its length, too. An error
// is an *OtherClusterError, of the store, or says what is wrong.
func Load(r io.Reader, cluster ID, o store.Options) (_ *State, length int64, err error) {
	counter := &countingReader{from: r}
	head, err := readHead(counter)
	if err != nil {
		return nil, 0, err
	}
	if ID(head.Cluster) != cluster {
		return nil, 0, &OtherClusterError{Own: cluster, Other: ID(head.Cluster)}
	}
	st, err := store.Load(counter, o)
	if err != nil {
		return nil, 0, err
	}
	return &State{
		Head: Head{
			Index:   raft.Index(head.Index),
			Term:    raft.Term(head.Term),
			Config:  raft.Configuration{Voters: raftMembers(head.Voters), Learners: raftMembers(head.Learners)},
			Members: membershipFromProto(head),
			Auth:    authFromProto(head.Auth),
		},
		Store: st, cluster: cluster, sessions: sessionsFromProto(head.Sessions), time: st.View().Time(),
	}, counter.bytes, nil
}

func readHead(r io.Reader) (*pb.SnapshotHead, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, fmt.Errorf("read the head's length: %w", err)
	}
	size := binary.BigEndian.Uint32(length[:])
	if size > headMax {
		return nil, fmt.Errorf("the head claims %d bytes, more than %d", size, headMax)
	}
	encoded := make([]byte, size)
	if _, err := io.ReadFull(r, encoded); err != nil {
		return nil, fmt.Errorf("read the head: %w", err)
	}
	var head pb.SnapshotHead
	if err := head.UnmarshalVT(encoded); err != nil {
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
