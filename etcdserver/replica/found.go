package replica

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"canopy/etcdserver/auth"
	pb "canopy/etcdserver/etcdserverpb"
	"canopy/raft"
	"canopy/store"
)

// Assemble makes the state of a cluster without members, from a store and users of another server.
func Assemble(index raft.Index, term raft.Term, st *store.Store, users auth.Contents) *State {
	return &State{
		Head:  Head{Index: index, Term: term, Members: NewMembership(), Auth: auth.Restore(users)},
		Store: st, sessions: newSessions(), time: st.View().Time(),
	}
}

// Summary is what a saved state holds.
type Summary struct {
	Head    Head
	Cluster ID
	Store   store.Summary
}

// Inspect reads what Save wrote, checks all of it, and keeps nothing.
func Inspect(r io.Reader) (Summary, error) {
	head, err := readHead(r)
	if err != nil {
		return Summary{}, err
	}
	st, err := store.Inspect(r)
	if err != nil {
		return Summary{}, err
	}
	return Summary{
		Head: Head{
			Index: raft.Index(head.Index), Term: raft.Term(head.Term), Members: membershipFromProto(head), Auth: authFromProto(head.Auth),
			Config: raft.Configuration{Voters: raftMembers(head.Voters), Learners: raftMembers(head.Learners)},
		},
		Cluster: ID(head.Cluster), Store: st,
	}, nil
}

// Founding is a saved state that becomes the first of a new cluster. Tree, indexes, deadlines, history, users and roles stay;
// members, removals and sessions do not (B47).
type Founding struct {
	Cluster ID
	Members []MemberInfo
	Store   uint64 // hash of the store, as Inspect found it
	head    []byte
	Index   raft.Index
	Term    raft.Term
}

// NewFounding prepares it from a summary of the saved state.
func NewFounding(s Summary, cluster ID, members []MemberInfo) (*Founding, error) {
	f := &Founding{Cluster: cluster, Members: members, Store: s.Store.Hash, Index: max(s.Head.Index, 1), Term: max(s.Head.Term, 1)}
	list := NewMembership().WithVersion(s.Head.Members.Version)
	head := &pb.SnapshotHead{Cluster: uint64(cluster), Index: uint64(f.Index), Term: uint64(f.Term), Auth: authToProto(s.Head.Auth)}
	for _, m := range members {
		list = list.With(m)
	}
	for _, m := range list.List() {
		head.Voters = append(head.Voters, uint64(m.ID))
	}
	list.toProto(head)
	var err error
	if f.head, err = head.MarshalVT(); err != nil {
		return nil, fmt.Errorf("encode the head: %w", err)
	}
	return f, nil
}

// Save copies a saved state, with the head of the new cluster.
func (f *Founding) Save(w io.Writer, saved io.Reader) error {
	if _, err := readHead(saved); err != nil {
		return err
	}
	if _, err := w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(f.head)))); err != nil {
		return err
	}
	if _, err := w.Write(f.head); err != nil {
		return err
	}
	_, err := io.Copy(w, saved)
	return err
}

// Verify reads back what Save wrote.
func (f *Founding) Verify(r io.Reader) error {
	head, err := readHead(r)
	if err != nil {
		return err
	}
	got, err := head.MarshalVT()
	if err != nil {
		return fmt.Errorf("encode the head that was read: %w", err)
	}
	if !bytes.Equal(got, f.head) {
		return errors.New("its head is not the one that was saved")
	}
	hash, err := store.Verify(r)
	if err == nil && hash != f.Store {
		err = fmt.Errorf("it holds a tree with the hash %x, and not the one that was saved, %x", hash, f.Store)
	}
	return err
}
