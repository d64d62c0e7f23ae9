# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Quickstart: from a cohort to a new patient
#
# A hospital has single cells of patients from before and after CAR T cells: RNA, surface protein,
# receptors. It knows who reached a complete response (CR). Two questions follow. Could the
# response have been read from the cells **before infusion**, and how sure is that? And what does a
# model of these patients say about the next one?
#
# This notebook asks both, on a simulated cohort, so that nothing has to be downloaded and the
# truth is known. On your own data only the configuration changes; the last section says how.

# %%
import tempfile
import warnings
from pathlib import Path

# notes of the libraries about themselves
warnings.filterwarnings("ignore", module="anndata|mudata|tqdm|umap")

import anndata as ad
import awkward as ak
import matplotlib.pyplot as plt
import mudata
import numpy as np
import pandas as pd
import scanpy as sc
import umap
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

import recart
from recart.config.build import build_each
from recart.config.compose import compose
from recart.data.simulate import SimulatedCohort
from recart.evaluation.launch import evaluate_run
from recart.inference.bundle.write import write_bundle
from recart.inference.launch import embed_run
from recart.inference.outputs.differential_expression import differential_expression
from recart.inference.outputs.of_members import all_outputs
from recart.inference.outputs.predictive_check import posterior_predictive_check
from recart.report.canvas import NEGATIVE, PALETTE, POSITIVE
from recart.report.figures import forest, predictions, roc
from recart.report.run_figures import training_curves
from recart.report.run_report import write_run_report
from recart.training.launch import train_run
from recart.training.run_directory import RunDirectory

mudata.set_options(pull_on_update=False)
plt.rcParams.update(
    {
        "figure.dpi": 90,
        "figure.figsize": (4.2, 4.0),
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
)
colours = {"CR": POSITIVE, "nonCR": NEGATIVE}

# %% tags=["parameters"]
# Small, so that it is quick. A study would have 1,000 cells a sample and 2,000 or more genes.
patients, cells_per_sample, genes, epochs = 32, 150, 300, 15

# %%
work = Path(tempfile.mkdtemp(prefix="recart-quickstart-"))
simulated = [
    "data=simulated",
    f"data.reader.patients={patients}",
    f"data.reader.cells_per_sample={cells_per_sample}",
    f"data.reader.genes={genes}",
    "data.reader.strength=1.0",  # effects as large as they were published
    "data.limits.min_cells=40",  # a sample with fewer cells is left out as a failed library
]

# %% [markdown]
# ## The cohort
#
# One row is one sample. A patient has blood from before infusion (apheresis), and mostly blood and
# sometimes marrow from about a month after it. `day` counts from infusion: a sample may enter a
# prediction only if it was there when the prediction is made, and this column decides.

# %%
cohort = SimulatedCohort(
    patients=patients, cells_per_sample=cells_per_sample, genes=genes, strength=1.0
).read()
cohort.samples.assign(cells=cohort.cells["sample"].value_counts()).head(8)

# %% [markdown]
# The outcome belongs to the patient. Look at the second table before any model: here, as in the
# study that the simulator imitates, **the product goes along with the response**. A model that
# only recognises the product would look as if it could predict.

# %%
cohort.patients.head()

# %%
pd.crosstab(cohort.patients["product"], cohort.patients["response"], margins=True)

# %% [markdown]
# How the cells of each patient divide over the cell types before infusion. One dot is one patient;
# the line is the median. Patients without CR have more monocytes and fewer NK and CD8 effector
# memory cells. This is one of the effects that the simulator was told to put in.

# %%
before = cohort.cells[cohort.cells["sample"].map(cohort.samples["timepoint"]) == "pre"]
share = pd.crosstab(
    before["sample"].map(cohort.samples["patient"]), before["cell_type"], normalize="index"
)
shown = share.median().nlargest(9).index
response = cohort.patients["response"].reindex(share.index)
jitter = np.random.default_rng(0).uniform(-0.12, 0.12, len(share))

figure, axes = plt.subplots(3, 3, figsize=(8.6, 6.2), layout="constrained", sharex=True)
for axis, cell_type in zip(axes.flat, shown, strict=False):
    for place, name in enumerate(colours):
        of_class = (response == name).to_numpy()
        values = 100 * share.loc[of_class, cell_type]
        axis.plot(
            place + jitter[of_class],
            values,
            "o",
            color=colours[name],
            alpha=0.7,
            ms=4,
            clip_on=False,
        )
        axis.hlines(values.median(), place - 0.25, place + 0.25, color=colours[name], lw=2)
    axis.set(title=cell_type, xticks=[0, 1], xticklabels=list(colours), xlim=(-0.5, 1.5))
    axis.set_ylim(bottom=0)
figure.supylabel("cells of the patient (%)", fontsize=9)
plt.show()

# %% [markdown]
# ## Train
#
# A configuration is composed from `configs/`, as on the command line. This is `python train.py
# data=simulated ...`; a key that does not exist is an error that names the nearest one.
#
# Patients are dealt into five folds, here once; a study keeps the default, ten partitions, of which
# the mean depends on no single one. For each fold a *member* is trained: genes, background of the
# proteins, encoder, prototypes and head are all fitted on the member's own training patients; its
# held-out patients are never touched. The decision time of the simulated cohort is day 1, so
# samples from after infusion stay out of training and of prediction.

# %%
config = compose(
    [
        *simulated,
        "data.folds.repeats=1",
        f"training.epochs={epochs}",
        f"paths.run={work / 'run'}",
        f"paths.prepared={work / 'prepared'}",
    ]
)
inner_loss = train_run(config)

# %% [markdown]
# The returned number is the log loss on patients *inside* the training set, cross-validated. It
# may be used to compare settings, because no held-out patient is in it. Saying "always the
# prevalence" costs about 0.69.

# %%
round(inner_loss, 3)

# %% [markdown]
# ## Evaluate
#
# The only door to held-out patients. Each is predicted by the member that has not seen them, and
# the simple models run in the same folds: cell type composition, pseudobulk, quality of the
# measurement (cells, depth, mitochondrial share), and batch. If one of the last two predicts the
# response, find out why before anything else. If `batch only` does, the design is at fault. With
# `quality only` it can be biology in disguise: monocytes hold more RNA than lymphocytes, so a
# patient with many of them is sequenced deeper. It can as well be samples that were handled
# differently.
#
# The run is audited as well: one donor under two names, labels that a column gives away, samples
# from after the decision, members that saw whom they are tested on. A leak would forbid any claim.

# %%
run = RunDirectory.open(work / "run")
checks = build_each(compose([f"run={run.path}"], "evaluate").audit)
evaluated = evaluate_run(run, checks)
assessment = evaluated.assessment
page = write_run_report(evaluated, run)

# %%
evaluated.audit.summary

# %% [markdown]
# What may be said, in words:

# %%
(assessment.claim.headline, *assessment.claim.sentences)

# %% [markdown]
# And in numbers. An AUROC without its interval says little at this size: where the truth is 0.75,
# forty patients give anything from 0.58 to 0.89. Do not be surprised where a simple model leads.
# What the simulator put in is above all a shift of composition, which is the simple models' home
# ground, and this training was short. That such a thing is seen and said is what the table is for.

# %%
pd.DataFrame(
    {
        row.name: {
            "AUROC": row.metrics.auroc,
            "low": row.auroc_interval and row.auroc_interval.low,
            "high": row.auroc_interval and row.auroc_interval.high,
            "AUPRC": row.metrics.auprc,
            "balanced accuracy": row.metrics.balanced_accuracy,
            "Brier": row.metrics.brier,
            "Brier skill": row.metrics.brier_skill,
        }
        for row in (assessment.model, *assessment.baselines)
    }
).T.astype(float).round(2)

# %%
roc(assessment)

# %%
forest(assessment)

# %% [markdown]
# Each held-out patient: probability of CR, sorted. Mistakes with a probability near 0 or 1 are the
# patients to look at first.

# %%
predictions(assessment.model, "CR", "nonCR")

# %% [markdown]
# Training of the members, one thin line each. The curve of the inner-validation patients decides
# which epoch a member keeps; where it still rises at the end, as it does here, train longer.

# %%
training_curves(pd.DataFrame([row for member in evaluated.members for row in member.history]))

# %% [markdown]
# All of this, with calibration, what was left out and why, and how the run came about, stands in
# one page that needs nothing beside it. In a real project it lies in `outputs/<run>/report.html`.

# %%
sorted(str(path.relative_to(run.path)) for path in run.path.iterdir())

# %% [markdown]
# ## The cells
#
# `embed.py` writes cells with their embedding as AnnData or MuData, ready for scanpy. Here for the
# cohort itself. Its patients are recognised and get no prediction: the members know them.

# %%
embed_run(
    compose([f"run={run.path}", *simulated, "seed=0", f"output={work / 'cohort.h5ad'}"], "embed")
)
cells = ad.read_h5ad(work / "cohort.h5ad")
cells.obs["response"] = cells.obs["patient"].map(cohort.patients["response"]).astype("category")
cells.obs["time"] = cells.obs["sample"].map(cohort.samples["timepoint"]).astype("category")
cells = cells[cells.obs["time"] == "pre"].copy()
cells

# %%
flat = umap.UMAP(min_dist=0.4, random_state=0)
cells.obsm["X_umap"] = flat.fit_transform(cells.obsm["X_recart"])

# %% [markdown]
# By cell type: the encoder was never shown the annotation, yet cell types should form islands.

# %%
frequent = list(cells.obs["cell_type"].value_counts().index[:8])
cells.obs["cell type"] = pd.Categorical(
    cells.obs["cell_type"].where(cells.obs["cell_type"].isin(frequent)).astype(object), frequent
)
sc.pl.umap(cells, color="cell type", palette=list(PALETTE), na_color="#d5d8dc", frameon=False)

# %% [markdown]
# By patient and by response. Islands of single patients would mean that the encoder has learnt who
# a cell belongs to. Response should show as a shift in how full the islands are, not as a wall.

# %%
sc.pl.umap(cells, color="patient", legend_loc=None, frameon=False)
sc.pl.umap(cells, color="response", palette=colours, frameon=False)

# %% [markdown]
# ## What the model says of genes and proteins
#
# The questions that users of totalVI ask, by the names they know. All members of the run answer
# together; ask `outputs_of` for one of them. First surface protein without its background, beside
# the counts that were measured: unspecific staining is to go, what the cell carries to stay. Every
# second cell from before infusion is enough for a picture.

# %%
store = evaluated.cohort.store
is_before = (store.samples["timepoint"] == "pre").to_numpy()[store.cells["sample"]]
some = np.flatnonzero(is_before)[::2]
outputs = all_outputs(evaluated.members, store)
asked = ["CD4", "CD8a", "CD14"]
columns = [store.proteins.index(name) for name in asked]
counts = pd.DataFrame(store.protein[some][:, columns], columns=asked)
_, denoised = outputs.get_normalized_expression(some, gene_list=[], protein_list=asked)
foreground = outputs.get_protein_foreground_probability(some, protein_list=asked)

figure, axes = plt.subplots(2, 3, figsize=(8.6, 4.4), layout="constrained")
for name, (above, below) in zip(asked, axes.T, strict=True):
    above.hist(np.log1p(counts[name]), bins=50, color=PALETTE[0])
    above.set(title=name, xlabel="measured, log(1 + count)", yticks=[])
    below.hist(np.log1p(denoised[name]), bins=50, color=PALETTE[1])
    below.set(xlabel="denoised, log(1 + foreground)", yticks=[])
figure.supylabel("cells", fontsize=9)
plt.show()

# %% [markdown]
# The probability that a protein's counts are more than background, as the mean over the cells of
# a type. CD14 belongs to monocytes; CD8a to CD8 T cells and, dimmer, to NK cells; CD4 to CD4 T
# cells and, dimmer, to monocytes. An antibody that reads the same everywhere tells nothing, or the
# training was too short for it.

# %%
foreground.groupby(store.cells["cell_type"].astype(str)).mean().reindex(shown).round(2)

# %% [markdown]
# Which genes and proteins differ between two cell types. A pair of cells counts as different if the
# log2 fold change of its denoised expression lies beyond 0.25; `proba_de` is how often. The last
# column calls features at a false discovery rate of 0.05 as the posterior expects it. The posterior
# does not know how uncertain the weights are: where the truth was planted, .02 to .15 of the calls
# were false. This speaks of these cells, not of patients: to compare patients, patients have to be
# the unit.

# %%
change = differential_expression(
    outputs, groupby="cell_type", group1="CD14 Mono", group2="CD8 TEM", n_samples_overall=1000
)
change[["proba_de", "lfc_median", "raw_mean1", "raw_mean2", "is_de_fdr_0.05"]].head(8).round(3)

# %% [markdown]
# Do counts drawn from the model look like those of the data? Each member draws the cells once. One
# dot is a gene or a protein. The mean should lie on the line. A coefficient of variation below it
# says that the model finds a feature more even than it is: it has not learnt yet what the feature
# depends on.

# %%
check = posterior_predictive_check(outputs, some, n_samples=1)
is_protein = check.index.str.endswith("_protein")
figure, axes = plt.subplots(1, 3, figsize=(8.6, 3.0), layout="constrained")
for axis, metric in zip(axes, ["mean", "coefficient_of_variation", "zero_fraction"], strict=True):
    for part, colour, name in (
        (~is_protein, PALETTE[0], "gene"),
        (is_protein, PALETTE[1], "protein"),
    ):
        raw, drawn = (check.loc[part, f"{metric}_{of}"] for of in ("raw", "sampled"))
        axis.plot(raw, drawn, "o", color=colour, ms=3, alpha=0.6, label=name)
    observed = check[f"{metric}_raw"]
    ends = [observed.min(), observed.max()]
    axis.plot(ends, ends, color="black", lw=0.8)
    axis.set(title=metric.replace("_", " "), xlabel="data", ylabel="drawn")
axes[0].set(xscale="log", yscale="log")
axes[0].legend(frameon=False)
plt.show()

# %% [markdown]
# ## A new patient
#
# Somebody whom no member has seen, sequenced later: another seed gives other patients, and other
# libraries. The file is written as any pipeline would write it, MuData with modalities `rna`,
# `prot` and `airr`; the response is not in it. Its batch has a name of its own: under the name of
# an old batch, cells would be corrected for what that batch had.

# %%
others = SimulatedCohort(patients=2, cells_per_sample=600, genes=genes, seed=1, strength=1.0).read()
patient = others.patients.index[0]
own_samples = others.samples[others.samples["patient"] == patient]
own = others.cells["sample"].isin(own_samples.index).to_numpy()
obs = others.cells[own].join(own_samples, on="sample")
own_samples

# %%
chains = others.chains.drop(columns="clone_id").astype({"productive": bool})
records = dict(tuple(chains[chains["cell"].isin(obs.index)].set_index("cell").groupby(level=0)))
airr = ad.AnnData(obs=obs[[]])
airr.obsm["airr"] = ak.Array(
    [records[cell].to_dict("records") if cell in records else [] for cell in obs.index]
)
mudata.MuData(
    {
        "rna": ad.AnnData(others.rna[own], obs=obs, var=others.genes),
        "prot": ad.AnnData(
            others.protein[own], obs=obs[[]], var=pd.DataFrame(index=others.proteins)
        ),
        "airr": airr,
    }
).write_h5mu(work / "new_patient.h5mu")

# %% [markdown]
# `python embed.py run=outputs/<run> data.path=new_patient.h5mu output=new_embedded.h5mu`, as a
# call. Genes, proteins, decision time and receptor embedding come from the run; of the file, only
# the names of columns would be asked, and here they are the usual ones.

# %%
new = embed_run(
    compose(
        [
            f"run={run.path}",
            f"data.path={work / 'new_patient.h5mu'}",
            f"output={work / 'new_embedded.h5mu'}",
        ],
        "embed",
    )
)

# %% [markdown]
# What is said about the patient. `probability` is the mean over members on the scale of log odds,
# `probability_min` and `probability_max` the most different members: five members that disagree
# are the plainest sign that the cohort is too small to be sure. The coverages are shares of the
# model's genes and proteins that the file has.

# %%
new.patients.T

# %% [markdown]
# `flags` says what is unusual. `unseen-batch` is the rule for new patients, not the exception: the
# cells are encoded as an average over the batches of training, and a strong batch effect is not
# corrected. Others are `low-cell`, `genes-missing`, `proteins-missing`, `no-protein`,
# `no-receptor` and `in-training`. No prediction goes anywhere without its flags.
#
# Beside the cohort's held-out predictions, each of which comes from the one member that had not
# seen the patient. The new patient has all members, and so a range over them:

# %%
held_out = assessment.model.scores.table
row = new.patients.iloc[0]
figure, axis = plt.subplots(figsize=(6.4, 2.3), layout="constrained")
for height, (label, name) in enumerate([(0, "nonCR"), (1, "CR")]):
    of_class = held_out.loc[held_out["y"] == label, "probability"]
    axis.plot(of_class, np.full(len(of_class), height), "|", color=colours[name], ms=14, mew=2)
axis.plot([row["probability_min"], row["probability_max"]], [2, 2], color="black", lw=2)
axis.plot(row["probability"], 2, "o", color="black", ms=8)
axis.set(
    yticks=[0, 1, 2],
    yticklabels=["cohort, no CR", "cohort, CR", "new patient"],
    xlim=(-0.02, 1.02),
    ylim=(-0.6, 2.6),
    xlabel="probability of CR",
)
plt.show()

# %% [markdown]
# The new patient's composition before infusion (black) beside the cohort's patients. A patient far
# outside of all of them asks for something that the members have not learnt.

# %%
first = obs[obs["timepoint"] == "pre"]
new_share = first["cell_type"].value_counts(normalize=True).reindex(shown, fill_value=0)
figure, axis = plt.subplots(figsize=(8.2, 3.4), layout="constrained")
for step, name in ((-0.16, "CR"), (0.16, "nonCR")):
    part = share.loc[(response == name).to_numpy(), shown]
    place = np.arange(len(shown)) + step + 0.6 * jitter[: len(part), None]
    axis.plot(place, 100 * part, "o", color=colours[name], ms=3.5, alpha=0.55, clip_on=False)
    axis.plot([], [], "o", color=colours[name], label=f"cohort, {name}")
axis.plot(100 * new_share.to_numpy(), "D", color="black", ms=6, clip_on=False, label="new patient")
axis.set(xticks=range(len(shown)), ylabel="cells of the patient (%)", ylim=(0, None))
axis.set_xticklabels(shown, rotation=30, ha="right")
axis.legend(frameon=False)
plt.show()

# %% [markdown]
# The cells on the cohort's UMAP. Both files come from the same reference member, so both lie in
# one latent space. Each new cell is placed where its nearest cohort cells lie.

# %%
new_cells = mudata.read_h5mu(work / "new_embedded.h5mu")["rna"]
new_cells = new_cells[new_cells.obs["sample"].map(own_samples["timepoint"]) == "pre"].copy()
nearest = KNeighborsRegressor(5, weights="distance")
nearest.fit(cells.obsm["X_recart"], cells.obsm["X_umap"])
new_cells.obsm["X_umap"] = nearest.predict(new_cells.obsm["X_recart"])

figure, axis = plt.subplots(figsize=(5.2, 4.8), layout="constrained")
axis.scatter(*cells.obsm["X_umap"].T, s=4, color="#cfd4d9", linewidths=0, label="cohort")
axis.scatter(*new_cells.obsm["X_umap"].T, s=6, color=PALETTE[7], linewidths=0, label="new patient")
axis.set(xticks=[], yticks=[])
axis.axis("off")
axis.legend(frameon=False, markerscale=3, loc="upper left")
plt.show()

# %% [markdown]
# Whether they were placed well can be counted: give each new cell the cell type of its nearest
# cohort cells in the latent space, and compare with its own annotation.

# %%
neighbours = KNeighborsClassifier(15).fit(cells.obsm["X_recart"], cells.obs["cell_type"])
agreement = neighbours.score(new_cells.obsm["X_recart"], new_cells.obs["cell_type"])
f"{agreement:.0%} of the new cells lie among cohort cells of their own cell type"

# %% [markdown]
# This cohort is simulated, so the truth can be looked up. No hospital can do that; it waits for
# the response.

# %%
others.patients.loc[[patient], ["response", "product"]]

# %% [markdown]
# ## Give the model away
#
# The run and the prepared cohort belong to the hospital. What may leave it is a **bundle**, which
# `python evaluate.py run=outputs/<run> bundle=<folder>` writes: weights, features, calibration and
# model card of all members, as tensors and JSON, without a name of a patient, a sample or a batch.
# A run in which the audit finds a leak is refused.

# %%
released = work / "released"
digest = write_bundle(evaluated, run, released, force=False)
pd.Series(
    {p.name: p.stat().st_size for p in sorted(released.iterdir()) if p.is_file()}, name="bytes"
)

# %% [markdown]
# Another hospital loads it, without the run, its cohort or a network. Every file is compared with
# its SHA-256 first, and one changed byte is refused by the name of the file.

# %%
model = recart.load(released)
model

# %% [markdown]
# Its methods take MuData or AnnData in memory. `read` checks the data as `embed.py` does, so that
# several questions need it once. `predict` then says what `embed.py` said, to the last bit.

# %%
received = model.read(mudata.read_h5mu(work / "new_patient.h5mu"))
released_says = model.predict(received)
released_says["probability"] - new.patients["probability"]

# %% [markdown]
# `embed` gives the latents of each cell, in the order of the data, ready for `obsm`. Names of
# batches being gone from a bundle, samples of the cohort's own batches would be encoded as those of
# a new one are: as an average over the batches of training.

# %%
model.embed(received).head(3).round(2)

# %% [markdown]
# `explain` says what drove the score: contributions in log odds that sum to it, on the left by
# group of features, with their spread over members. Where members disagree on the sign, nothing
# was found. `bag means` is the mean of all of the patient's cells. On the right: which cell states
# are behind it, in number, in kind or by moving that mean, with their spread over members.

# %%
drivers = model.explain(received)
of_groups = drivers.groups.set_index("group").sort_values("contribution")
states = drivers.states.added.iloc[0]
states = states[states.abs().nlargest(8).index[::-1]]
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
left.barh(of_groups.index, of_groups["contribution"], xerr=of_groups["sd"], color=PALETTE[0])
right.barh(states.index, states, xerr=drivers.states.sd.iloc[0][states.index], color=PALETTE[0])
for axis in (left, right):
    axis.axvline(0, color="black", lw=0.8)
    axis.set(xlabel="contribution to the log odds of CR")
plt.show()

# %% [markdown]
# ## What may be concluded, and what may not
#
# **May be concluded.** Whether, in this cohort and at this decision time, held-out patients could
# be ranked by their cells better than by chance, and better than by composition, pseudobulk, batch
# or quality alone: exactly what the claim above says, with its interval and no further.
#
# **May not be concluded.**
#
# - *That the model works elsewhere.* Another hospital, product, panel or chemistry needs its own
#   held-out patients. Cross-validation stays inside one cohort.
# - *That cells cause response.* Whatever goes along with the response can carry a prediction: here
#   the product does. Compare within a product before anything is called biology.
# - *Anything about one patient's treatment.* The range over members says how much five models of
#   the same cohort disagree. It is not an interval for the patient, and it does not know what the
#   flags say. Exports are marked: for research use only, not for decisions on patients.
# - *The best of many runs.* Choose settings by the inner log loss that `train_run` returned.
#   Whoever chooses by the held-out AUROC has used the held-out patients up.
# - *Anything from this run about recart's quality.* Patients, cells, genes and epochs are few, so
#   that it is quick. Set `data.reader.strength=0`, where no cell knows the response, and see that
#   the claim is withdrawn.
#
# ## Your own data
#
# ```bash
# python train.py data=h5mu data.path=cohort.h5mu data.endpoint=response data.decision_day=0
# python evaluate.py run=outputs/<run>
# python embed.py run=outputs/<run> data.path=new.h5mu output=new_embedded.h5mu
# ```
#
# - `data=h5ad` and `data=cellranger` read the other usual forms, and any subset of RNA, surface
#   protein and receptors will do. `python train.py --help` lists what can be set.
# - Before anything is trained, everything that is wrong with the input is listed at once, with the
#   file, the sample, the column and the mend.
# - Say when the prediction is to be made (`data.decision_day`, `data.timepoints`, `data.tissues`)
#   before you look at results. It decides which samples may enter.
# - `.recart/` holds prepared cohorts and the key of the pseudonyms: it is as private as the data.
#   Files that `embed.py` writes carry your own names of patients and samples; reports do not.
