// Package command has the commands of canopy ctl that bring data in and out: import-dir, verify, restore.
//
// A command prints its report on standard error, so that standard output is free for data, and for JSON if it is asked for.
package command

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"canopy/client"
	"canopy/etcdserver/replica"
	"canopy/migration"
	"canopy/migration/archive"
	"canopy/migration/report"
	"canopy/migration/restore"
)

// Exit statuses (G57).
const (
	exitRefused = 1
	exitPartial = 6 // done, but something was left out or cut
)

// Failure is an error with an exit status.
type Failure struct {
	Status int
	Err    error // nil: all was said
}

// Error is the text of the error.
func (f *Failure) Error() string {
	if f.Err == nil {
		return ""
	}
	return f.Err.Error()
}

// Unwrap gives the cause.
func (f *Failure) Unwrap() error { return f.Err }

// ExitStatus is that of the process; said tells that nothing more is to be printed.
func (f *Failure) ExitStatus() (status int, said bool) { return f.Status, f.Err == nil }

func refused(err error) error {
	if err == nil || errors.As(err, new(*Failure)) {
		return err
	}
	switch err.(type) {
	case *client.Error, *client.ClusterError: // are shown as those of other commands
	default:
		err = errors.New(err.Error()) // what it wraps says less
	}
	return &Failure{exitRefused, err}
}

// program is this program.
type program struct{ version string }

// Commands makes all commands, for a program of this version.
func Commands(version string) []*cobra.Command {
	o := program{version}
	return []*cobra.Command{o.importDir(), verify(), restoreCommand(), backup(), export(), importText(), mirror()}
}

// usage makes faults of the command line refusals.
func usage(c *cobra.Command, run func(c *cobra.Command, args []string) error) *cobra.Command {
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return refused(fmt.Errorf("%w; see '%s --help'", err, c.CommandPath()))
	})
	check := c.Args
	c.Args = func(c *cobra.Command, args []string) error {
		if check == nil {
			return nil
		}
		return refused(check(c, args))
	}
	c.RunE = func(c *cobra.Command, args []string) error { return refused(run(c, args)) }
	return c
}

// outputFlag is -o: text on standard error, or JSON on standard output.
func outputFlag(c *cobra.Command) *string {
	return c.Flags().StringP("output", "o", "simple", "how the report is printed: simple (on standard error) or json (on standard output)")
}

func show(c *cobra.Command, r *report.Report, output string) error {
	switch output {
	case "json":
		return r.JSON(c.OutOrStdout())
	case "simple", "text", "extended":
		return r.Text(c.ErrOrStderr())
	}
	return fmt.Errorf("--output %q: allowed are simple and json", output)
}

func checkOutput(output string) error {
	return show(discard, &report.Report{}, output)
}

var discard = func() *cobra.Command {
	c := &cobra.Command{}
	c.SetOut(io.Discard)
	c.SetErr(io.Discard)
	return c
}()

func (o program) importDir() *cobra.Command {
	c := &cobra.Command{
		Use:   "import-dir --data-dir DIR [--data-dir DIR …] --out FILE",
		Short: "Read the data directory of a stopped etcd 0.4, 2.x or 3.x, and write a file for restore",
		Args:  cobra.NoArgs,
	}
	var in migration.Options
	var dirs []string
	var out, ttl string
	flags := c.Flags()
	flags.StringArrayVar(&dirs, "data-dir", nil, "data directory of a member, a snapshot file, or a state file; several of one cluster: the best is taken")
	flags.StringVar(&in.WALDir, "wal-dir", "", "directory of the log, if it is elsewhere; with one --data-dir only")
	flags.StringVar(&out, "out", "", "the file to write")
	flags.StringVar(&ttl, "ttl", "remaining", "remaining: time stood still since the source was stopped; absolute: deadlines are times of day")
	flags.BoolVar(&in.AcceptLoss, "accept-loss", false, "go on although entries that were committed are gone")
	flags.BoolVar(&in.CommittedOnly, "committed-only", false, "leave out what is not known to be committed")
	flags.StringVar(&in.InOrder, "in-order-names", "", "padded or plain: names of in-order keys in the log, if the version cannot be told")
	flags.BoolVar(&in.NoAuth, "no-auth", false, "leave users and roles out")
	flags.BoolVar(&in.KeepInternal, "keep-internal", false, "take what 0.4 keeps below /_etcd, too")
	output := outputFlag(c)
	return usage(c, func(c *cobra.Command, _ []string) error {
		in.Absolute = ttl == "absolute"
		switch {
		case len(dirs) == 0 || out == "":
			return errors.New("--data-dir and --out are needed")
		case len(dirs) > 1 && in.WALDir != "":
			return errors.New("--wal-dir belongs to one --data-dir")
		case ttl != "remaining" && ttl != "absolute":
			return fmt.Errorf("--ttl %q: allowed are remaining and absolute", ttl)
		case in.InOrder != "" && in.InOrder != "padded" && in.InOrder != "plain":
			return fmt.Errorf("--in-order-names %q: allowed are padded and plain", in.InOrder)
		}
		if err := checkOutput(*output); err != nil {
			return err
		}
		return o.runImport(c, dirs, in, out, *output)
	})
}

func (o program) runImport(c *cobra.Command, dirs []string, in migration.Options, out, output string) error {
	state, r, err := migration.Import(dirs, in)
	if err != nil {
		return err
	}
	header := o.header(r.Cluster, state.Snapshot())
	header.Origin = r
	file, err := archive.Put(out, func(w io.Writer) error { return archive.Write(w, header, state.Snapshot()) })
	if err != nil {
		return err
	}
	r = file.Report()
	if err := show(c, r, output); err != nil {
		return err
	}
	if r.Partial() {
		return &Failure{Status: exitPartial}
	}
	return nil
}

// header is that of a file written now.
func (o program) header(cluster string, state replica.Snapshot) archive.Header {
	return archive.Header{Program: o.version, Cluster: cluster, Index: uint64(state.View.Index()), Time: time.Now().UTC().Format(time.RFC3339)}
}

func verify() *cobra.Command {
	c := &cobra.Command{Use: "verify FILE", Short: "Read a backup to its end, and tell what is in it", Args: cobra.ExactArgs(1)}
	output := outputFlag(c)
	return usage(c, func(c *cobra.Command, args []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		file, err := archive.Verify(args[0])
		if err != nil {
			return err
		}
		return show(c, file.Report(), *output)
	})
}

func restoreCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "restore FILE --name NAME --data-dir DIR --initial-cluster NAME=URL,…",
		Short: "Write the data directory of a member of a new cluster from a backup",
		Long: "Write the data directory of a member of a new cluster from a backup.\n\nGive all members the same file, --initial-cluster and --initial-cluster-token. Then start each one with its\n" +
			"--name and --data-dir. The cluster is a new one, with new IDs: members of the old one must not run on the same URLs.",
		Args: cobra.ExactArgs(1),
	}
	var o restore.Options
	flags := c.Flags()
	flags.StringVar(&o.Name, "name", "default", "name of this member")
	flags.StringVar(&o.DataDir, "data-dir", "", "the directory to write; it must not exist, or be empty")
	flags.StringVar(&o.InitialCluster, "initial-cluster", "", "all members of the new cluster, with their peer URLs")
	flags.StringVar(&o.Token, "initial-cluster-token", "", "goes into the IDs")
	flags.StringVar(&o.AdvertisePeer, "initial-advertise-peer-urls", "", "peer URLs of this member; those of --initial-cluster, if left out")
	return usage(c, func(c *cobra.Command, args []string) error {
		if o.DataDir == "" || o.InitialCluster == "" {
			return errors.New("--data-dir and --initial-cluster are needed")
		}
		file, err := archive.Verify(args[0])
		if err != nil {
			return err
		}
		done, err := restore.Restore(file, o)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "restored index %d to %s: member %v (%s), one of %d in cluster %v\n", done.Index, o.DataDir, done.Member, o.Name, done.Members, done.Cluster)
		return err
	})
}
