package grafana

import (
	"encoding/json"
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// board is a dashboard.
type board struct {
	uid, title, about string
	// job is the usual name of the job that scrapes the process, where the dashboard is of one.
	job  string
	rows []row
}

type row struct {
	title  string
	panels []panel
}

// panel shows one or more expressions, over time or, as a stat, now.
type panel struct {
	title, about, unit string
	queries            []query
	stat               *look
}

// look of a stat: what its values are called and from where on they are bad.
type look struct {
	bad   float64
	words map[string]string // by value
}

type query struct{ expr, legend string }

const (
	height    = 7
	statWidth = 4
	width     = 8
)

// source is the data source that whoever looks has chosen.
func source() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}
}

// render writes a dashboard as Grafana reads it, in the classic schema: every Grafana from 10 to 13 takes it from a file, and not
// every one the newer schema, which the SDK prefers.
func render(b board) ([]byte, error) {
	built := dashboard.NewDashboardBuilder(b.title) //nolint:staticcheck // see above
	built = built.Uid(b.uid).Description(b.about).Tags([]string{"vidflow"}).
		Refresh("30s").Time("now-3h", "now").Timezone("browser").Tooltip(dashboard.DashboardCursorSyncCrosshair).
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Prometheus").Type("prometheus")).
		Link(dashboard.NewDashboardLinkBuilder("vidflow").Type(dashboard.DashboardLinkTypeDashboards).Tags([]string{"vidflow"}).KeepTime(true))
	if b.job != "" {
		usual := dashboard.StringOrArrayOfString{String: &b.job}
		built = built.WithVariable(dashboard.NewQueryVariableBuilder("job").Label("Job").
			Description("The job that scrapes it").
			Datasource(source()).
			Query(dashboard.StringOrMap{String: cog.ToPtr(`label_values(up{job=~"vidflow.*"}, job)`)}).
			Current(dashboard.VariableOption{Selected: cog.ToPtr(true), Text: usual, Value: usual}).
			Refresh(dashboard.VariableRefreshOnTimeRangeChanged))
	}
	var id uint32
	next := func() uint32 { id++; return id }
	for _, r := range b.rows {
		built = built.WithRow(dashboard.NewRowBuilder(r.title).Id(next()))
		for _, p := range r.panels {
			if p.stat != nil {
				built = built.WithPanel(statPanel(p).Id(next()))
			} else {
				built = built.WithPanel(timePanel(p).Id(next()))
			}
		}
	}
	made, err := built.Build()
	if err != nil {
		return nil, fmt.Errorf("dashboard %s: %w", b.uid, err)
	}
	text, err := json.MarshalIndent(made, "", "  ")
	return append(text, '\n'), err
}

func timePanel(p panel) *timeseries.PanelBuilder {
	made := timeseries.NewPanelBuilder().
		Title(p.title).Description(p.about).Unit(p.unit).Datasource(source()).Height(height).Span(width).
		Min(0).FillOpacity(10).ShowPoints(common.VisibilityModeNever).
		Legend(common.NewVizLegendOptionsBuilder().
			ShowLegend(true).DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom))
	for i, q := range p.queries {
		made = made.WithTarget(target(i, q))
	}
	return made
}

func statPanel(p panel) *stat.PanelBuilder {
	made := stat.NewPanelBuilder().
		Title(p.title).Description(p.about).Unit(p.unit).Datasource(source()).Height(height - 2).Span(statWidth).
		ColorMode(common.BigValueColorModeBackground).GraphMode(common.BigValueGraphModeArea).NoValue("unknown").
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).
		Thresholds(dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps([]dashboard.Threshold{
			{Color: "green"}, {Color: "red", Value: &p.stat.bad},
		}))
	if len(p.stat.words) > 0 {
		words := dashboard.NewValueMap()
		for value, text := range p.stat.words {
			words.Options[value] = dashboard.ValueMappingResult{Text: &text}
		}
		made = made.Mappings([]dashboard.ValueMapping{{ValueMap: words}})
	}
	for i, q := range p.queries {
		made = made.WithTarget(target(i, q))
	}
	return made
}

func target(i int, q query) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().RefId(string(rune('A' + i))).Expr(q.expr).LegendFormat(q.legend).Range()
}
