// Package live is the command top: what a cluster does at the moment, in a view that is made again and again.
package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"canopy/client"
	"canopy/ctl/command"
)

// options are the flags.
type options struct {
	host     *command.Host
	interval time.Duration
	rounds   int
	depth    int
	most     int
}

// Commands is top.
func Commands(h *command.Host) []*cobra.Command {
	o := options{host: h}
	c := &cobra.Command{Use: "top", Short: "Show what the cluster does: leader, rate of changes, watches, busiest subtrees",
		Long: "Show what the cluster does: who leads, changes a second, watches, and the subtrees with most changes since the view before.\n" +
			"On a terminal the view is drawn in place; otherwise one follows the other. With -o json each is a line.\n" +
			"Hidden keys are in the rate, but not among the subtrees.",
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) > 0:
				return command.Usage("too many arguments")
			case o.interval < 100*time.Millisecond || o.rounds < 0 || o.depth < 1 || o.most < 1:
				return command.Usage("--interval is at least 100ms, --depth and --most at least 1, --rounds at least 0")
			}
			return h.RunLong(c.Context(), func(ctx context.Context, cl *client.Client) error { return o.show(ctx, cl) })
		}}
	c.Flags().DurationVar(&o.interval, "interval", 2*time.Second, "time between two views")
	c.Flags().IntVar(&o.rounds, "rounds", 0, "views to show; 0: until Ctrl-C")
	c.Flags().IntVar(&o.depth, "depth", 1, "parts of a key that name its subtree")
	c.Flags().IntVar(&o.most, "most", 10, "subtrees to show")
	return []*cobra.Command{c}
}

// subtree is a subtree with its changes.
type subtree struct {
	Key     string `json:"key"`
	Changes int    `json:"changes"`
}

// view is what is shown.
type view struct {
	Leader    string    `json:"leader"` // "" if there is none
	Members   int       `json:"members"`
	Index     uint64    `json:"index"`
	PerSecond float64   `json:"changesPerSecond"`
	Watches   uint64    `json:"watches"` // of all members that answer
	Busiest   []subtree `json:"busiest"`
}

// subtreesMax bounds the subtrees that are counted between two views.
const subtreesMax = 100_000

// others is the subtree of changes beyond that bound.
const others = "(others)"

// show makes views until ctx ends, or the number of them is reached.
func (o *options) show(ctx context.Context, c *client.Client) error {
	first, err := c.Get(ctx, "/", client.GetOptions{})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	events := make(chan string)
	ended := make(chan error, 1)
	go func() { ended <- o.follow(ctx, c, first.Index, events) }()
	defer func() { stop(); <-ended }()
	tick := time.NewTicker(o.interval)
	defer tick.Stop()
	counts, last, since := map[string]int{}, first.Index, time.Now()
	for shown := 0; o.rounds == 0 || shown < o.rounds; {
		select {
		case key := <-events:
			if _, known := counts[key]; !known && len(counts) >= subtreesMax {
				key = others
			}
			counts[key]++
		case err := <-ended:
			ended <- err
			if ctx.Err() != nil {
				return nil
			}
			return err
		case <-tick.C:
			v := o.look(ctx, c, last)
			now := time.Now()
			if v.Index > last {
				v.PerSecond = float64(v.Index-last) / now.Sub(since).Seconds()
				last = v.Index
			}
			v.Busiest, since = o.busiest(counts), now
			clear(counts)
			if err := o.print(v); err != nil {
				return err
			}
			shown++
		}
	}
	return nil
}

// follow gives the subtree of each change. It leaves out what is no longer in the history.
func (o *options) follow(ctx context.Context, c *client.Client, after uint64, events chan<- string) error {
	w := c.Watch("/", client.WatchOptions{Recursive: true, After: after})
	for {
		event, err := w.Next(ctx)
		var said *client.Error
		switch {
		case errors.Is(err, client.ErrIndexCleared) && errors.As(err, &said) && said.Index > w.After():
			w = c.Watch("/", client.WatchOptions{Recursive: true, After: said.Index})
			continue
		case err != nil:
			return err
		}
		select {
		case events <- o.subtreeOf(event.Node.Key):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// subtreeOf is the beginning of a key.
func (o *options) subtreeOf(key string) string {
	parts := strings.Split(strings.TrimPrefix(key, "/"), "/")
	return "/" + strings.Join(parts[:min(len(parts), o.depth)], "/")
}

func (o *options) busiest(counts map[string]int) []subtree {
	all := []subtree{}
	for key, changes := range counts {
		all = append(all, subtree{key, changes})
	}
	slices.SortFunc(all, func(a, b subtree) int {
		return cmp.Or(cmp.Compare(b.Changes, a.Changes), strings.Compare(a.Key, b.Key))
	})
	return all[:min(len(all), o.most)]
}

// look asks the members. What cannot be asked is left out: the view goes on while members are away.
func (o *options) look(ctx context.Context, c *client.Client, last uint64) view {
	v := view{Index: last}
	ask := func(do func(context.Context)) {
		ctx, cancel := o.host.Each(ctx)
		defer cancel()
		do(ctx)
	}
	var members []client.Member
	ask(func(ctx context.Context) {
		if all, err := c.Members(ctx); err == nil {
			members, v.Members = all.Members, len(all.Members)
		}
	})
	ask(func(ctx context.Context) {
		if leader, err := c.Leader(ctx); err == nil {
			v.Leader = leader.Name
		}
	})
	for _, m := range members {
		if len(m.ClientURLs) == 0 {
			continue
		}
		ask(func(ctx context.Context) {
			if index, err := c.IndexOf(ctx, m.ClientURLs[0]); err == nil {
				v.Index = max(v.Index, index)
			}
			if n, err := c.WatchesOf(ctx, m.ClientURLs[0]); err == nil {
				v.Watches += n
			}
		})
	}
	return v
}

func (o *options) print(v view) error {
	if o.host.Format() == command.FormatJSON {
		return o.host.JSON(v)
	}
	var b strings.Builder
	if out, ok := o.host.Out.(*os.File); ok && term.IsTerminal(int(out.Fd())) {
		b.WriteString("\x1b[H\x1b[2J") // to the upper left, and clear
	}
	leader := v.Leader
	if leader == "" {
		leader = "nobody"
	}
	fmt.Fprintf(&b, "%s leads %s; index %d, %.1f changes a second, %d watches\n", command.Plain(leader), members(v.Members), v.Index, v.PerSecond, v.Watches)
	for _, s := range v.Busiest {
		fmt.Fprintf(&b, "%8d  %s\n", s.Changes, command.Plain(s.Key))
	}
	return o.host.Printf("%s\n", b.String())
}

func members(n int) string {
	if n == 1 {
		return "1 member"
	}
	return fmt.Sprintf("%d members", n)
}
