package discovery

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"canopy/client"
	"canopy/config/value"
)

// SizeMax is the most members that a token can ask for (D18).
const SizeMax = 31

// Peer is a registered member.
type Peer struct {
	ID       uint64 // from the key, so that all agree, whatever their spelling of the token (D25)
	Name     string
	PeerURLs []string
}

// ParsePeer parses a registration: the last part of its key, and its value.
func ParsePeer(key, text string) (Peer, error) {
	id, err := strconv.ParseUint(key, 16, 64)
	if err != nil || id == 0 {
		return Peer{}, fmt.Errorf("the key %q is no member ID", key)
	}
	cluster, err := value.ParseCluster(text)
	if err != nil {
		return Peer{}, fmt.Errorf("the value %q: %w", text, err)
	}
	if len(cluster) != 1 {
		return Peer{}, fmt.Errorf("the value %q does not name one member", text)
	}
	for name, urls := range cluster {
		if name == "" || strings.ContainsFunc(name, unicode.IsControl) {
			return Peer{}, fmt.Errorf("the value %q has no name", text)
		}
		return Peer{id, name, urls.Strings()}, nil
	}
	panic("unreachable")
}

// ParseSize parses the size of a token.
func ParseSize(text string) (int, error) {
	size, err := strconv.Atoi(text)
	if err != nil || size < 1 || size > SizeMax {
		return 0, fmt.Errorf("size must be a number from 1 to %d", SizeMax)
	}
	return size, nil
}

// registration is one key below the token.
type registration struct {
	key, value string
	created    uint64
	dir        bool
}

// registry is the result of a read: all registrations in the order of their
// creation (D7), and the size of the token.
type registry struct {
	size  int
	all   []registration
	index uint64 // of the store; it contains no later changes
}

// complete tells whether there are as many registrations as the size.
func (r registry) complete() bool { return len(r.all) >= r.size }

// first gives the members, as far as they have registered.
func (r registry) first() []registration { return r.all[:min(r.size, len(r.all))] }

// at is the position of a key; −1: it does not exist.
func (r registry) at(key string) int {
	return slices.IndexFunc(r.all, func(each registration) bool { return each.key == key })
}

// look reads the size and the registrations once (D8).
func (d *directory) look(ctx context.Context) (registry, error) {
	size, err := d.size(ctx)
	if err != nil {
		return registry{}, err
	}
	list, err := d.get(ctx, "")
	switch {
	case isMissing(err):
		return registry{}, d.noSize()
	case err != nil:
		return registry{}, d.judge(err)
	}
	return d.registry(size, list)
}

// registry reads the list of registrations.
func (d *directory) registry(size int, list *client.Response) (registry, error) {
	if list.Node == nil || !list.Node.Dir {
		return registry{}, d.bad("the token is no directory")
	}
	r := registry{size: size, index: 1} // at least the index of the size
	for _, n := range list.Node.Nodes {
		r.all = append(r.all, registration{path.Base(n.Key), n.Value, n.CreatedIndex, n.Dir})
		r.index = max(r.index, n.ModifiedIndex)
	}
	r.index = cmp.Or(list.Index, r.index) // a relay may have dropped the header
	slices.SortFunc(r.all, func(a, b registration) int { return cmp.Compare(a.created, b.created) })
	return r, nil
}

func (d *directory) size(ctx context.Context) (int, error) {
	r, err := d.get(ctx, "/_config/size")
	switch {
	case isMissing(err):
		return 0, d.noSize()
	case err != nil:
		return 0, d.judge(err)
	case r.Node == nil || r.Node.Dir:
		return 0, d.bad("its size is no value")
	}
	size, err := ParseSize(r.Node.Value)
	if err != nil {
		return 0, &TokenError{d.token, ErrBadSize, fmt.Sprintf("%q; %v", r.Node.Value, err), adviceNewToken}
	}
	return size, nil
}

func (d *directory) noSize() error {
	return &TokenError{d.token, ErrNoSize, d.token.at("/_config/size").Redacted(), adviceEndpoint + "; a token is gone when it was deleted, or has expired"}
}

// peers parses registrations, and refuses lists that no cluster can have: with a
// duplicate name, URL or ID (D12, D21, B20).
func (d *directory) peers(list []registration) ([]Peer, error) {
	var peers []Peer
	names, ids, urls := map[string]bool{}, map[uint64]bool{}, map[string]bool{}
	for _, r := range list {
		if r.dir {
			return nil, &TokenError{d.token, ErrInvalidURL, r.key + " is a directory", adviceNewToken}
		}
		p, err := ParsePeer(r.key, r.value)
		if err != nil {
			return nil, &TokenError{d.token, ErrInvalidURL, err.Error(), adviceNewToken}
		}
		if names[p.Name] {
			return nil, &TokenError{d.token, ErrDuplicateName, p.Name, adviceNoReuse}
		}
		if ids[p.ID] {
			return nil, &TokenError{d.token, ErrDuplicateID, r.key, adviceNoReuse}
		}
		names[p.Name], ids[p.ID] = true, true
		for _, u := range p.PeerURLs {
			if urls[u] {
				return nil, &TokenError{d.token, ErrDuplicateURL, u, adviceNoReuse}
			}
			urls[u] = true
		}
		peers = append(peers, p)
	}
	return peers, nil
}
