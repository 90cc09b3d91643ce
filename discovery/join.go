package discovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"canopy/client"
	"canopy/internal/disk"
)

// Options are the settings of Join. Members uses Token, Proxy, Waiting, Pause and
// Log; the others are only for Join.
type Options struct {
	Token    Token  // required
	Proxy    string // the HTTP proxy, http://host:port or host:port; "": none
	Name     string // this member's
	PeerURLs []string

	// IDOf derives a member's ID from its peer URLs and the token (B15).
	IDOf func(peerURLs []string, token string) uint64
	// Started asks a member whether it knows that the one with the ID has started.
	Started func(ctx context.Context, peerURLs []string, id uint64) (bool, error)

	FS      disk.FS // of Dir
	Dir     string  // the data directory; it exists, and only this process uses it
	Waiting Waiting // nil: not called
	Pause   Pause   // nil: the real clock
	Log     Log
}

// joiner is one process that joins a cluster.
type joiner struct {
	Options
	at    *directory
	polls backoff
	there bool            // the token has existed
	found map[string]bool // the keys that were logged
	told  string          // the progress that was logged last
}

func newJoiner(o Options) (*joiner, error) {
	proxy, err := parseProxy(o.Proxy)
	if err != nil {
		return nil, err
	}
	at, err := newDirectory(o.Token, proxy)
	if err != nil {
		return nil, err
	}
	if proxy != nil {
		o.Log.Infof("discovery: using proxy %q", proxy.Redacted())
	}
	return &joiner{Options: o, at: at, polls: backoff{pause: o.Pause, waiting: o.Waiting}, found: map[string]bool{}}, nil
}

// Members waits until the token is complete, and gives its members (D39). It
// never registers.
func Members(ctx context.Context, o Options) ([]Peer, error) {
	j, err := newJoiner(o)
	if err != nil {
		return nil, err
	}
	defer j.at.keys.Close()
	for {
		r, err := j.look(ctx)
		if err != nil {
			return nil, err
		}
		if r.complete() {
			return j.at.peers(r.first())
		}
		if err := j.wait(ctx, r); err != nil {
			return nil, err
		}
	}
}

// Join registers this process under the token and waits until the token is
// complete. It gives the members, including this one. A *FullError tells that
// this process is not one of them, a *TokenError that the token cannot be used;
// temporary errors are retried as long as ctx lasts.
//
// Each step follows from the present list, never from the content of an event
// (D22). So the same loop serves the first start, a restart in the middle (D24),
// and a registry that was rebuilt (D26).
func Join(ctx context.Context, o Options) ([]Peer, error) {
	j, err := newJoiner(o)
	if err != nil {
		return nil, err
	}
	defer j.at.keys.Close()
	self, err := j.self()
	if err != nil {
		return nil, err
	}
	for {
		r, err := j.look(ctx)
		if err != nil {
			return nil, err
		}
		switch at := r.at(self.note.Key); {
		case self.changed(r) != nil:
			return nil, self.changed(r)
		case at >= r.size || at < 0 && r.complete():
			return nil, j.full(r)
		case at < 0:
			err = j.register(ctx, self, r)
		case !r.complete():
			if err = self.claim(r.all[at]); err == nil {
				err = j.wait(ctx, r)
			}
		default:
			var peers []Peer
			if peers, err = j.begin(ctx, self, r.all[at], r); !isUnsure(err) {
				return peers, err
			}
			err = j.polls.wait(ctx, j.Log, err)
		}
		if err != nil {
			return nil, err
		}
	}
}

// look reads the registrations, and tries until it succeeds (D14). A token that
// existed may come back (D26).
func (j *joiner) look(ctx context.Context) (registry, error) {
	again := backoff{pause: j.Pause, waiting: j.Waiting}
	for {
		r, err := j.at.look(ctx)
		if err == nil {
			j.there = true
			again.reset(j.Log)
			j.report(r)
			return r, nil
		}
		if j.there && errors.Is(err, ErrNoSize) {
			err = &unsureError{fmt.Errorf("the token %s is gone: it was deleted, has expired, or its store was lost", j.Token)}
		}
		if !isUnsure(err) {
			return registry{}, err
		}
		if err := again.wait(ctx, j.Log, fmt.Errorf("cluster status check: %w", err)); err != nil {
			return registry{}, err
		}
	}
}

// report logs new registrations and how many are missing, when that changes.
func (j *joiner) report(r registry) {
	own := ""
	if j.IDOf != nil {
		own = j.key()
	}
	for _, each := range r.first() {
		if j.found[each.key] {
			continue
		}
		j.found[each.key] = true
		if each.key == own {
			j.Log.Infof("discovery: found self %s in the cluster", each.key)
		} else {
			j.Log.Infof("discovery: found peer %s in the cluster", each.key)
		}
	}
	found := len(r.first())
	progress := fmt.Sprintf("found %d of %d members, waiting for %d", found, r.size, r.size-found)
	if r.complete() {
		progress = fmt.Sprintf("found %d needed peer(s)", r.size)
	}
	if progress != j.told {
		j.told = progress
		j.Log.Infof("discovery: %s", progress)
	}
	j.Waiting.tell(progress)
}

// briefly is the length of a wait without a result below which a pause follows.
const briefly = time.Second

// wait waits until something may have changed (D11).
func (j *joiner) wait(ctx context.Context, r registry) error {
	began := time.Now()
	happened, err := j.at.watch(ctx, r.index)
	switch {
	case isUnsure(err):
		return j.polls.wait(ctx, j.Log, fmt.Errorf("waiting for other nodes: %w", err))
	case err != nil:
		return err
	case !happened && time.Since(began) < briefly:
		return j.polls.wait(ctx, j.Log, fmt.Errorf("waiting for other nodes: %s ends waits at once", j.Token))
	}
	j.polls.reset(j.Log)
	return nil
}

// register adds this process to an incomplete list (D9). It does so only if the
// list remains one that a cluster can have, so that a mistake here does not stop
// all others. It tries until there is an answer; that the key exists is an answer,
// too.
func (j *joiner) register(ctx context.Context, self *identity, r registry) error {
	if _, err := j.at.peers(append(slices.Clone(r.all), registration{key: self.note.Key, value: self.note.Value})); err != nil {
		return err
	}
	if err := self.remember(); err != nil {
		return err
	}
	err := j.at.create(ctx, "/"+self.note.Key, self.note.Value)
	switch {
	case err == nil:
		j.polls.reset(j.Log)
		return nil
	case errors.Is(err, client.ErrNodeExist):
		return j.polls.wait(ctx, j.Log, fmt.Errorf("registering: %s did not exist when the list was read, and exists now", self.note.Key))
	case isMissing(err):
		return nil // the next read shows the result
	}
	if err = j.at.judge(err); isUnsure(err) {
		return j.polls.wait(ctx, j.Log, fmt.Errorf("registering: %w", err))
	}
	return err
}

// full gives the members that registered earlier.
func (j *joiner) full(r registry) error {
	peers, err := j.at.peers(r.first())
	if err != nil {
		return err
	}
	return errors.Join(Forget(j.FS, j.Dir), &FullError{j.Token, peers})
}

// begin gives the members of a complete list, if this process may be one of
// them: by its note or the others' answers, it never ran before (D24).
func (j *joiner) begin(ctx context.Context, self *identity, own registration, r registry) ([]Peer, error) {
	if err := self.same(own); err != nil {
		return nil, err
	}
	peers, err := j.at.peers(r.first())
	if err != nil {
		return nil, err
	}
	if !self.mine {
		if err := j.neverRan(ctx, peers, self.peer.ID); err != nil {
			return nil, err
		}
		if err := self.remember(); err != nil {
			return nil, err
		}
	}
	for _, p := range peers {
		if p.ID != j.IDOf(p.PeerURLs, j.Token.String()) {
			j.Log.Warnf("discovery: member %q registered as %x, which is not the ID of its URLs and %s: it uses another spelling of the discovery URL", p.Name, p.ID, j.Token)
		}
	}
	return peers, nil
}
