package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/time/rate"

	"canopy/client"
	"canopy/ctl"
	"canopy/migration/archive"
)

// backups are the flags of backup.
type backups struct {
	rate   int64
	every  time.Duration
	keep   int
	to     string
	output *string
}

func backup() *cobra.Command {
	c := &cobra.Command{
		Use:   "backup FILE|-  or  backup --every 1h --keep 24 --to DIR",
		Short: "Write the whole state of the running cluster to one file",
		Long: "Write the whole state of the running cluster to one file, from any member, while it serves. With users it needs those of root.\n\n" +
			"The file holds every write that was acknowledged before. It is checked before it gets its name. canopy ctl restore makes a new\ncluster of it.",
		Args: cobra.MaximumNArgs(1),
	}
	var b backups
	flags := c.Flags()
	flags.Int64Var(&b.rate, "rate", 0, "most bytes a second; 0: no limit")
	flags.DurationVar(&b.every, "every", 0, "make a backup at once and then after each such time, until ended")
	flags.IntVar(&b.keep, "keep", 24, "with --every: so many of the newest files stay in --to")
	flags.StringVar(&b.to, "to", "", "with --every: directory of the files")
	b.output = outputFlag(c)
	return usage(c, func(c *cobra.Command, args []string) error {
		if err := checkOutput(*b.output); err != nil {
			return err
		}
		switch {
		case b.every == 0 && len(args) != 1 || b.every > 0 && len(args) != 0:
			return errors.New("give a FILE, or - for standard output, or --every and --to")
		case b.every < 0 || b.every > 0 && (b.to == "" || b.keep < 1):
			return errors.New("--every needs --to, and --keep of 1 at least")
		case b.rate < 0:
			return errors.New("--rate must not be negative")
		}
		from, err := ctl.Client(c)
		if err != nil {
			return err
		}
		defer from.Close()
		if b.every > 0 {
			return b.repeat(c, from)
		}
		if args[0] == "-" {
			return b.copy(c, from, c.OutOrStdout())
		}
		return b.once(c, from, args[0])
	})
}

// attempts is how often a backup is asked for, if its stream is cut.
const attempts = 3

// once writes one file. A stream that was cut is asked for again.
func (b *backups) once(c *cobra.Command, from *client.Client, name string) error {
	for n := 1; ; n++ {
		file, err := archive.Put(name, func(w io.Writer) error { return b.copy(c, from, w) })
		if err == nil {
			return show(c, file.Report(), *b.output)
		}
		var said *client.Error
		if n == attempts || c.Context().Err() != nil || errors.As(err, &said) || errors.Is(err, os.ErrExist) || errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
			return err
		}
		fmt.Fprintf(c.ErrOrStderr(), "%v; asking again\n", err)
	}
}

// copy copies a backup, and tells how far it is.
func (b *backups) copy(c *cobra.Command, from *client.Client, w io.Writer) error {
	in, err := from.Backup(c.Context())
	if err != nil {
		return err
	}
	defer in.Close()
	p := &progress{to: c.ErrOrStderr(), next: time.Now().Add(time.Second)}
	var reader io.Reader = io.TeeReader(in, p)
	if b.rate > 0 {
		reader = &limited{reader, rate.NewLimiter(rate.Limit(b.rate), int(min(max(b.rate, 1<<16), 1<<20))), c.Context()}
	}
	if _, err := archive.Copy(w, reader); err != nil {
		return fmt.Errorf("after %d bytes: %w", p.bytes, err)
	}
	return nil
}

// progress tells each second how many bytes have passed.
type progress struct {
	to    io.Writer
	bytes int64
	next  time.Time
}

func (p *progress) Write(b []byte) (int, error) {
	p.bytes += int64(len(b))
	if now := time.Now(); now.After(p.next) {
		p.next = now.Add(time.Second)
		fmt.Fprintf(p.to, "%.1f MB\n", float64(p.bytes)/1e6)
	}
	return len(b), nil
}

// limited reads no faster than a limiter allows.
type limited struct {
	from    io.Reader
	limiter *rate.Limiter
	ctx     context.Context
}

func (l *limited) Read(b []byte) (int, error) {
	n, err := l.from.Read(b[:min(len(b), l.limiter.Burst())])
	if waitErr := l.limiter.WaitN(l.ctx, n); waitErr != nil && err == nil {
		err = waitErr
	}
	return n, err
}

var backupName = regexp.MustCompile(`^canopy-[0-9]{8}T[0-9]{6}Z\.canopy$`)

// repeat makes backups until it is ended. One that fails is told of, and the next one is made in time.
func (b *backups) repeat(c *cobra.Command, from *client.Client) error {
	ctx := c.Context()
	tick := time.NewTicker(b.every)
	defer tick.Stop()
	for {
		name := filepath.Join(b.to, time.Now().UTC().Format("canopy-20060102T150405Z.canopy"))
		err := b.once(c, from, name)
		if err == nil {
			err = b.prune()
		}
		if err != nil && ctx.Err() == nil {
			fmt.Fprintf(c.ErrOrStderr(), "%s: %v\n", name, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// prune removes the oldest files.
func (b *backups) prune() error {
	entries, err := os.ReadDir(b.to)
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		if backupName.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(x, y string) int { return cmp.Compare(y, x) }) // the newest first
	for _, name := range names[min(b.keep, len(names)):] {
		if err := os.Remove(filepath.Join(b.to, name)); err != nil {
			return err
		}
	}
	return nil
}
