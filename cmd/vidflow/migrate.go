package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"

	"github.com/codeendelea/vidflow/internal/attributes"
	"github.com/codeendelea/vidflow/internal/config"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/process"
	"github.com/codeendelea/vidflow/internal/telemetry"
	"github.com/codeendelea/vidflow/workflows"
)

// printRoleSQL prints the SQL of the role that the processes log in as.
func printRoleSQL(stdout io.Writer) error {
	_, err := io.WriteString(stdout, postgres.RoleSQL("vidflow", "change-me"))
	return err
}

// migrate brings the database up to date and, where Temporal is configured and not skipped, its search attributes. It
// waits for what is away, and doing it again changes nothing.
func migrate(ctx context.Context, cfg *config.Config, skipTemporal bool, log *slog.Logger, stdout io.Writer) error {
	if err := migrateDatabase(ctx, cfg.Database, log); err != nil {
		return err
	}
	if skipTemporal || !cfg.Temporal.Configured {
		log.Info("Temporal search attributes are left alone", "skipped", skipTemporal, "configured", cfg.Temporal.Configured)
		return nil
	}
	return migrateTemporal(ctx, cfg.Temporal, log, stdout)
}

func migrateDatabase(ctx context.Context, cfg config.Database, log *slog.Logger) error {
	store, err := postgres.Open(ctx, cfg.URL.Reveal(), postgres.WithApplicationName("vidflow migrate"))
	if err != nil {
		return err
	}
	defer store.Close()
	reachable := process.Check{Name: "Postgres", Probe: func(ctx context.Context) error { return explainPostgres(store.Ping(ctx)) }}
	if err := process.WaitFor(ctx, log, reachable); err != nil {
		return err
	}
	return postgres.Migrate(ctx, cfg.URL.Reveal(), log)
}

func migrateTemporal(ctx context.Context, cfg config.Temporal, log *slog.Logger, stdout io.Writer) error {
	temporal, err := dialTemporal(cfg, telemetry.Instruments{}, log)
	if err != nil {
		return err
	}
	defer temporal.Close()
	if err := process.WaitFor(ctx, log, temporalCheck(temporal, cfg, true)); err != nil {
		return err
	}
	missing, err := attributes.Missing(ctx, temporal, cfg.Namespace)
	if err == nil && len(missing) > 0 {
		err = addAttributes(ctx, temporal.OperatorService(), cfg.Namespace, missing)
	}
	var wrong *attributes.WrongTypeError
	switch {
	case errors.As(err, &wrong):
		return wrong
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		// On Temporal Cloud they are made by its own tools, and an operator may not have granted it: runs work without them.
		log.Warn("Temporal refuses to make search attributes, going on without", "namespace", cfg.Namespace, "error", err)
		_, err := io.WriteString(stdout, byHand(cfg, missing))
		return err
	case len(missing) == 0:
		log.Info("Temporal search attributes are up to date", "namespace", cfg.Namespace)
	default:
		log.Info("Temporal search attributes created", "namespace", cfg.Namespace, "attributes", names(missing))
	}
	return nil
}

// addAttributes adds them; one that another migration has added meanwhile is as good.
func addAttributes(
	ctx context.Context, operator operatorservice.OperatorServiceClient, namespace string, keys []temporal.SearchAttributeKey,
) error {
	add := make(map[string]enumspb.IndexedValueType)
	for _, key := range keys {
		add[key.GetName()] = key.GetValueType()
	}
	_, err := operator.AddSearchAttributes(ctx,
		&operatorservice.AddSearchAttributesRequest{Namespace: namespace, SearchAttributes: add})
	var there *serviceerror.AlreadyExists
	if err != nil && !errors.As(err, &there) {
		return fmt.Errorf("add search attributes: %w", err)
	}
	return nil
}

// byHand is what an operator can paste instead. When nobody can tell what is missing, it is for all.
func byHand(cfg config.Temporal, missing []temporal.SearchAttributeKey) string {
	if len(missing) == 0 {
		missing = workflows.SearchAttributes()
	}
	var own, cloud strings.Builder
	for _, key := range missing {
		fmt.Fprintf(&own, "temporal operator search-attribute create --address %s --namespace %s --name %s --type %s\n",
			cfg.Address, cfg.Namespace, key.GetName(), key.GetValueType())
		fmt.Fprintf(&cloud, " --sa %s=%s", key.GetName(), key.GetValueType())
	}
	return "To make the search attributes by hand:\n" + own.String() +
		"On Temporal Cloud:\ntcld namespace search-attributes add --namespace " + cfg.Namespace + cloud.String() + "\n"
}

func names(keys []temporal.SearchAttributeKey) []string {
	var list []string
	for _, key := range keys {
		list = append(list, key.GetName())
	}
	return list
}
