package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"canopy/etcdserver/datadir"
	"canopy/internal/disk"
)

// When all members have other addresses than before, none finds another one, and no change of the list of members can be
// agreed on. So an operator tells each member at a start where the others are. These peer URLs are dialled instead of those in
// the list, and nothing else changes: who talks here is still checked by id, cluster and incarnation. Once there is a leader,
// each member proposes its own new URLs, and then the list counts again.

// forcedURLs are the peer URLs that an operator gave. Guarded by Member.provisional.mu, but for given.
type forcedURLs struct {
	given  map[string][]string // sorted, by name or id; never changed
	listed map[ID][]string     // what the list said when the log was restored
	over   map[ID]bool         // the list was changed since then, and counts
}

func newForcedURLs(given map[string][]string) forcedURLs {
	f := forcedURLs{given: map[string][]string{}, listed: map[ID][]string{}, over: map[ID]bool{}}
	for key, urls := range given {
		f.given[key] = slices.Sorted(slices.Values(urls))
	}
	return f
}

// of gives what was given for a member; nil: nothing.
func (f *forcedURLs) of(info MemberInfo) []string {
	if urls, ok := f.given[info.ID.String()]; ok {
		return urls
	}
	return f.given[info.Name]
}

// dialled is where a member is dialled. restored tells that the list is the one from before this start, or newer.
func (f *forcedURLs) dialled(info MemberInfo, restored bool) []string {
	urls := f.of(info)
	if urls == nil || f.over[info.ID] {
		return info.PeerURLs
	}
	if before, seen := f.listed[info.ID]; restored && !seen {
		f.listed[info.ID] = info.PeerURLs
	} else if seen && !slices.Equal(before, info.PeerURLs) {
		f.over[info.ID] = true
		return info.PeerURLs
	}
	return urls
}

// text is the list in one form, whatever the order in which it was given.
func (f *forcedURLs) text() string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(f.given)) {
		for _, url := range f.given[key] {
			parts = append(parts, key+"="+url)
		}
	}
	return strings.Join(parts, ",")
}

// unknown gives those for whom URLs were given, and who are no members.
func (f *forcedURLs) unknown(members []MemberInfo) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(f.given)), func(key string) bool {
		return slices.ContainsFunc(members, func(m MemberInfo) bool { return m.ID.String() == key || m.Name == key })
	})
}

// readdressEvery is the time between looks at how far the list has come.
const readdressEvery = time.Second

// readdress brings the replicated list up to date with the peer URLs that were given at this start.
func (m *Member) readdress(ctx context.Context) error {
	if len(m.forced.given) == 0 || m.Restored(ctx) != nil {
		return nil
	}
	m.setPeers() // notes what the list says
	if unknown := m.forced.unknown(m.Members()); len(unknown) > 0 {
		m.log.forcedUnknown(unknown, m.Members())
	}
	tick := time.NewTicker(readdressEvery)
	defer tick.Stop()
	told := error(nil)
	for !m.readdressed() {
		err := m.moveSelf(ctx)
		if err != nil && (told == nil || told.Error() != err.Error()) {
			m.log.notReaddressed(err)
			told = err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
	if err := disk.WriteFile(m.dir.FS, readdressed(m.dir), []byte(m.forced.text()+"\n")); err != nil {
		m.log.readdressUnmarked(err)
	}
	m.log.readdressed()
	return nil
}

// moveSelf proposes this member's own peer URLs, if the list has others and there is a leader.
func (m *Member) moveSelf(ctx context.Context) error {
	own, known := m.apply.present.Load().Members.Members[m.self]
	urls := m.forced.of(own)
	if !known || urls == nil || m.Leader() == 0 || slices.Equal(own.PeerURLs, urls) {
		return nil
	}
	if err := m.UpdateMember(ctx, m.self, urls); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// readdressed tells whether the list has all that was given.
func (m *Member) readdressed() bool {
	for _, info := range m.Members() {
		if urls := m.forced.of(info); urls != nil && !slices.Equal(urls, info.PeerURLs) {
			return false
		}
	}
	return true
}

// refuseForcedAgain leaves out a list that was carried out at an earlier start: members may have moved since.
func refuseForcedAgain(d datadir.Dir, o *Options, logger memberLog) error {
	if len(o.ForcePeerURLs) == 0 {
		return nil
	}
	forced := newForcedURLs(o.ForcePeerURLs)
	text, err := disk.ReadFile(d.FS, readdressed(d), readdressedMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return &DataDirError{Dir: d.Root, Reason: "cannot read " + readdressed(d), Err: err}
	}
	if strings.TrimSpace(string(text)) == forced.text() {
		logger.forcedURLsBefore()
		o.ForcePeerURLs = nil
	}
	return nil
}

// readdressedMax bounds the note of a list that was carried out, in bytes.
const readdressedMax = 1 << 20

// readdressed is the note of the peer URLs that were forced, and are in the list.
func readdressed(d datadir.Dir) string { return filepath.Join(d.Member(), "readdressed") }

func (l memberLog) forcedUnknown(unknown []string, members []MemberInfo) {
	var known []string
	for _, info := range members {
		known = append(known, fmt.Sprintf("%s (%v)", info.Name, info.ID))
	}
	l.entry.Errorf("--force-peer-urls names %s, and no member is called so: the members are %s", strings.Join(unknown, ", "), strings.Join(known, ", "))
}

func (l memberLog) notReaddressed(err error) {
	l.entry.WithError(err).Warn("could not put the peer URLs of --force-peer-urls into the list of members; it is tried again")
}

func (l memberLog) readdressed() {
	l.entry.Warn("the list of members has the peer URLs of --force-peer-urls now: remove the flag")
}

func (l memberLog) readdressUnmarked(err error) {
	l.entry.WithError(err).Warn("could not note that --force-peer-urls was carried out: remove the flag before members move again")
}

func (l memberLog) forcedURLsBefore() {
	l.entry.Warn("--force-peer-urls was carried out before, and has no effect: remove the flag")
}

func (l memberLog) forcedURLs(text string) {
	l.entry.Warnf("--force-peer-urls: members are dialled at %s, until the list of members says so", text)
}
