'''One self-contained HTML page with figures and sortable tables, shared by all studies.

The page follows the light or dark setting of the browser, fits narrow screens and loads nothing from the network. Text
is escaped. A study writes a Jinja2 template that extends ``page.html``, and passes plain data to it::

    from pathlib import Path

    from dctnet.studies.page.page import BLUE, Plot, new_figure, render_plots, write_page

    TEMPLATE = """
    {% extends "page.html" %}
    {% from "macros.html" import cell, figure, sortable %}
    {% block main %}
    <h1>{{ title }}</h1>
    {% call figure(plots.speed) %}Median of five rounds on {{ machine }}.{% endcall %}
    {% call(row) sortable("All decoders", ["Decoder", "Images/s"], speeds.items()) %}
    <th scope="row">{{ row[0] }}</th>{{ cell(row[1], "%.0f"|format(row[1])) }}
    {% endcall %}
    {% endblock %}
    """
    speeds = {"pillow": 410.5, "turbojpeg": 803.0}

    def draw():
        figure = new_figure(200)
        axes = figure.subplots()
        axes.barh(list(speeds), list(speeds.values()), color=BLUE)
        axes.set_xlabel("images per second")
        return figure

    out = Path("study")
    plot = Plot("speed", "Images per second of each decoder.", draw, [["decoder", "speed"], *speeds.items()])
    plots = render_plots([plot], out / "figures")
    write_page(out / "report.html", TEMPLATE, title="Decoders", machine="two cores", speeds=speeds, plots=plots)
'''
