package command

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"canopy/ctl"
	"canopy/migration/archive"
	"canopy/migration/live"
)

func export() *cobra.Command {
	c := &cobra.Command{
		Use:   "export [KEY]",
		Short: "Write keys as lines of JSON to standard output, as of one index",
		Long: "Write keys as lines of JSON to standard output, as of one index. The last line proves that the file is whole.\n\n" +
			"From a canopy each byte is taken, by a backup, which needs root if there are users. From etcd, or as another user, a\nlisting is taken.",
		Args: cobra.MaximumNArgs(1),
	}
	var o live.ExportOptions
	var file string
	c.Flags().BoolVar(&o.Indexes, "indexes", false, "write createdIndex and modifiedIndex, too")
	c.Flags().BoolVar(&o.Hidden, "hidden", false, "write hidden keys, too")
	c.Flags().StringVar(&file, "file", "", "a backup, instead of the running cluster")
	return usage(c, func(c *cobra.Command, args []string) error {
		o.Key = "/"
		if len(args) == 1 {
			o.Key = args[0]
		}
		o.Note = func(text string) { fmt.Fprintln(c.ErrOrStderr(), text) }
		out := bufio.NewWriterSize(c.OutOrStdout(), 1<<18)
		if file != "" {
			f, err := archive.Verify(file)
			if err != nil {
				return err
			}
			return errors.Join(live.ExportFile(f, out, o), out.Flush())
		}
		from, err := ctl.Client(c)
		if err != nil {
			return err
		}
		defer from.Close()
		return errors.Join(live.Export(c.Context(), from, out, o), out.Flush())
	})
}

func importText() *cobra.Command {
	c := &cobra.Command{
		Use:   "import FILE|-  or  import --snap FILE",
		Short: "Write the keys of an export, or of a snapshot of etcd, to the running cluster",
		Args:  cobra.MaximumNArgs(1),
	}
	var o live.ImportOptions
	var s live.SnapOptions
	var snap string
	flags := c.Flags()
	flags.StringVar(&o.Mode, "mode", live.Create, "create (what exists is an error), overwrite, merge (what exists stays), or replace (what is not in the file is deleted)")
	flags.StringVar(&o.To, "to", "", "write below this key, instead of the one that was exported")
	flags.BoolVar(&o.DryRun, "dry-run", false, "show what would be done: + new, ~ changed, - deleted")
	flags.StringVar(&snap, "snap", "", "state of an etcd 0.4 as JSON (GET /v2/migration/snapshot), or of a later snapshot")
	flags.StringArrayVar(&s.Hidden, "hidden", nil, "with --snap: take this hidden key, and all below it")
	flags.IntVarP(&s.Clients, "clients", "c", 10, "with --snap: so many writes at once")
	return usage(c, func(c *cobra.Command, args []string) error {
		o.Out, o.Now = c.OutOrStdout(), time.Now()
		switch {
		case (snap == "") == (len(args) == 0):
			return errors.New("give a FILE, or - for standard input, or --snap FILE")
		case !slices.Contains([]string{live.Create, live.Overwrite, live.Merge, live.Replace}, o.Mode):
			return fmt.Errorf("--mode %q: allowed are create, overwrite, merge and replace", o.Mode)
		case s.Clients < 1 || s.Clients > 1000:
			return errors.New("-c: allowed are 1 to 1000")
		}
		to, err := ctl.Client(c)
		if err != nil {
			return err
		}
		defer to.Close()
		if snap != "" {
			fmt.Fprintf(c.OutOrStdout(), "starting to import snapshot %s with %d clients\n", snap, s.Clients)
			n, err := live.ImportSnap(c.Context(), to, snap, s)
			if err == nil {
				fmt.Fprintf(c.OutOrStdout(), "finished importing %d keys\n", n)
			}
			return err
		}
		file, err := seekable(c, args[0])
		if err != nil {
			return err
		}
		defer file.Close()
		done, err := live.Import(c.Context(), to, file, o)
		fmt.Fprintf(c.ErrOrStderr(), "%d written, %d left as they were, %d deleted, %d had expired\n", done.Written, done.Skipped, done.Deleted, done.Expired)
		return err
	})
}

// seekable opens a file, which is read twice. Standard input is copied first.
func seekable(c *cobra.Command, name string) (*os.File, error) {
	if name != "-" {
		return os.Open(name)
	}
	f, err := os.CreateTemp("", "canopy-import-")
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(f, c.InOrStdin())
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err = errors.Join(err, os.Remove(f.Name())); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
