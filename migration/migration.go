// Package migration brings the data of other servers over: it finds what lies in directories, chooses the one that knows most,
// and makes a replicated state of it, and a report.
//
//	paths ──▶ etcddir, etcd04 ──▶ etcdtree.State ──▶ replica.State ──▶ archive
package migration

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"canopy/etcdserver/auth"
	"canopy/etcdserver/replica"
	"canopy/migration/etcd04"
	"canopy/migration/etcddir"
	"canopy/migration/etcdtree"
	"canopy/migration/report"
	"canopy/raft"
	"canopy/store"
)

// Options say what is taken over.
type Options struct {
	etcddir.Options
	Absolute     bool // deadlines are times of day; otherwise time stood still while nobody led (G54)
	NoAuth       bool // users and roles are left out
	KeepInternal bool // what 0.4 keeps below /_etcd is taken, too
}

// source is a directory or file that was read once.
type source interface {
	Position() (term, index uint64)
	Cluster() string
	Node() string
	Reported() *report.Report
	Replay() (*etcdtree.State, error)
	Close() error
}

// Import reads directories of members of one cluster, and takes the one that knows most.
func Import(paths []string, o Options) (_ *replica.State, _ *report.Report, err error) {
	var best source
	var seen []source
	defer func() {
		for _, s := range seen {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := different(paths); err != nil {
		return nil, nil, err
	}
	for _, path := range paths {
		s, err := open(path, o)
		if err != nil {
			return nil, nil, err
		}
		seen = append(seen, s)
		if best == nil || later(s, best) {
			best = s
		}
		if s.Cluster() != best.Cluster() {
			return nil, nil, fmt.Errorf("%s is of cluster %s, and %s of cluster %s: give directories of one cluster",
				s.Reported().Source, s.Cluster(), best.Reported().Source, best.Cluster())
		}
	}
	if best == nil {
		return nil, nil, errors.New("no directory is given")
	}
	r := best.Reported()
	tree, err := best.Replay()
	if err != nil {
		return nil, nil, err
	}
	compare(seen, best, r)
	state, err := assemble(tree, r, o)
	return state, r, err
}

// different refuses a directory that is given twice.
func different(paths []string) error {
	for i, path := range paths {
		one, err := os.Stat(path)
		if err != nil {
			return err
		}
		for _, before := range paths[:i] {
			if other, err := os.Stat(before); err == nil && os.SameFile(one, other) {
				return fmt.Errorf("%s is given twice", path)
			}
		}
	}
	return nil
}

func open(path string, o Options) (source, error) {
	place, err := etcddir.Recognise(path, o.WALDir)
	if err != nil {
		return nil, err
	}
	if place.Kind != etcddir.Old {
		return etcddir.Open(place, o.Options)
	}
	removed, err := etcddir.StandbyRuns(path)
	if err != nil {
		return nil, err
	}
	if removed && !o.AcceptLoss {
		return nil, &etcddir.RefusedError{Path: path, Reason: "this machine was removed from its cluster, and its data is stale; import that of a peer, or give --accept-loss"}
	}
	s, err := etcd04.Open(path)
	if err == nil && removed {
		s.Reported().Leave("what was written after this machine was removed from its cluster")
	}
	return s, err
}

// later tells whether one source knows more than another (G19).
func later(a, b source) bool {
	aTerm, aIndex := a.Position()
	bTerm, bIndex := b.Position()
	return aTerm > bTerm || aTerm == bTerm && aIndex > bIndex
}

// compare tells of all directories, and whether the majority of the members is among them.
func compare(all []source, best source, r *report.Report) {
	if len(all) > 1 {
		for _, s := range all {
			term, index := s.Position()
			chosen := ""
			if s == best {
				chosen = ", chosen"
			}
			r.Note("%s ends at entry %d of term %d%s", s.Reported().Source, index, term, chosen)
		}
	}
	if len(r.Members) < 2 || best.Node() == "" || best.Node() == "0" {
		return
	}
	there := 0
	for _, m := range r.Members {
		if slices.ContainsFunc(all, func(s source) bool { return s.Node() == m.ID }) {
			there++
		}
	}
	if there <= len(r.Members)/2 {
		r.Note("only %d of the %d members' directories are given: the others may know of later writes", there, len(r.Members))
	}
}

// assemble makes the state, as Parts of clients and users.
func assemble(tree *etcdtree.State, r *report.Report, o Options) (*replica.State, error) {
	if !o.KeepInternal && tree.Rules.Flat {
		if n := len(tree.List("/_etcd")); n > 0 {
			r.Note("keys below /_etcd are not imported; --keep-internal takes them")
		}
		tree.DropInternal()
	}
	users, bad := tree.Users()
	for _, path := range bad {
		r.Leave("%s: it cannot be read", path)
	}
	if o.NoAuth && users.Revision > 0 {
		r.Leave("%d users and %d roles, by --no-auth: everybody may read and write everything", len(users.Users), len(users.Roles))
		users = auth.Contents{}
	}
	if len(tree.List(clientRoot(tree))) == 0 && users.Revision == 0 {
		return nil, errors.New(strings.TrimSpace(r.Source + ": no v2 keys in it"))
	}
	r.Replaced = tree.Replaced()
	now := tree.Now()
	parts := tree.Parts()
	if o.Absolute {
		parts.Time = 0
	}
	state := replica.Assemble(raft.Index(r.LastIndex), raft.Term(r.LastTerm), store.Assemble(parts, store.Options{}), users)
	r.Now = report.Time(now)
	return state, nil
}

// clientRoot is the directory in which the keys of clients lie.
func clientRoot(tree *etcdtree.State) string {
	if tree.Rules.Flat {
		return "/"
	}
	return "/1"
}
