package discovery

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// identity is what this process registers.
type identity struct {
	joiner *joiner
	peer   Peer
	note   note
	before note // of the data directory, as read at the start
	mine   bool // the registration cannot be that of an earlier run with data
}

func (j *joiner) key() string { return strconv.FormatUint(j.IDOf(j.PeerURLs, j.Token.String()), 16) }

func (j *joiner) self() (*identity, error) {
	urls := slices.Sorted(slices.Values(j.PeerURLs))
	parts := make([]string, len(urls))
	for i, u := range urls {
		parts[i] = j.Name + "=" + u
	}
	n := note{j.Token.String(), j.key(), strings.Join(parts, ",")}
	peer, err := ParsePeer(n.Key, n.Value)
	if err != nil || peer.Name != j.Name {
		return nil, fmt.Errorf("--name %q and the advertised peer URLs cannot be registered: a name has no comma and no equals sign", j.Name)
	}
	before, err := readNote(j.FS, j.Dir)
	if err != nil {
		return nil, fmt.Errorf("read the note of this process in the data directory: %w", err)
	}
	return &identity{joiner: j, peer: peer, note: n, before: before, mine: before == n}, nil
}

// changed returns an error if this data directory has registered with other peer
// URLs, and so under another key, which counts as a member.
func (i *identity) changed(r registry) error {
	at := r.at(i.before.Key)
	if i.before.Token != i.note.Token || i.before.Key == i.note.Key || at < 0 {
		return nil
	}
	return i.otherValue(r.all[at])
}

// remember records the registration, which may exist already, in this data
// directory. It is called only while no member can have started.
func (i *identity) remember() error {
	if i.before != i.note {
		if err := i.note.write(i.joiner.FS, i.joiner.Dir); err != nil {
			return fmt.Errorf("write the note of this process in the data directory: %w", err)
		}
	}
	i.before, i.mine = i.note, true
	return nil
}

// claim takes an existing registration as that of this process, if it is the
// same, and the cluster cannot have started (D24).
func (i *identity) claim(r registration) error {
	if err := i.same(r); err != nil {
		return err
	}
	return i.remember()
}

// same checks that a registration with this process's key has the value that
// this process would write.
func (i *identity) same(r registration) error {
	p, err := ParsePeer(r.key, r.value)
	if err == nil && p.Name == i.peer.Name && slices.Equal(p.PeerURLs, i.peer.PeerURLs) {
		return nil
	}
	return i.otherValue(r)
}

func (i *identity) otherValue(r registration) error {
	return &TokenError{i.joiner.Token, ErrOtherValue, fmt.Sprintf("%s says %q, and this process would say %s=%q", r.key, r.value, i.note.Key, i.note.Value),
		fmt.Sprintf("start it with the same name and peer URLs as before, or delete that registration: curl -X DELETE %s", i.joiner.Token.at("/"+r.key))}
}

// neverRan asks the others whether this member has run. Most of them must
// answer: if it has run and taken part in anything, one of those knows.
func (j *joiner) neverRan(ctx context.Context, peers []Peer, self uint64) error {
	started := make([]bool, len(peers))
	failed := make([]error, len(peers))
	var all sync.WaitGroup
	for i, p := range peers {
		if p.ID != self {
			all.Go(func() { started[i], failed[i] = j.Started(ctx, p.PeerURLs, self) })
		}
	}
	all.Wait()
	answered := -1 // without this process itself
	var last error
	for _, err := range failed {
		if err == nil {
			answered++
		} else {
			last = err
		}
	}
	switch others := len(peers) - 1; {
	case slices.Contains(started, true) || others == 0:
		return &TokenError{j.Token, ErrAlreadyStarted, strconv.FormatUint(self, 16),
			"remove it and add it again, and start it with --initial-cluster-state=existing and without --discovery; for a new cluster, use a new token"}
	case answered < others/2+1:
		return &unsureError{fmt.Errorf("this member registered before, and nothing in its data directory says that it was waiting since: most of the others must say that it never ran, and %d of %d do (%w); if that is certain, delete its registration, curl -X DELETE %s",
			answered, others, last, j.Token.at("/"+strconv.FormatUint(self, 16)))}
	}
	return nil
}
