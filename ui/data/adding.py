"""The ways in: from this computer, the web, a camera, known sets, the server's own folders."""

import streamlit as st

from learner.datasets import SAMPLE_NAME, check_name
from learner.datasets.gallery import KNOWN
from learner.datasets.jobs import jobs, start_import, start_look
from learner.datasets.layouts import Choice
from learner.datasets.names import natural_key
from learner.datasets.roots import FolderEntry, allowed_roots, browse, check_server_path
from learner.datasets.uploads import Upload, begin_upload, find_upload
from learner.errors import DatasetError
from learner.store import Store
from learner.wording import count, file_size
from ui import state
from ui.frame import telling_errors
from ui.names import plain
from ui.web.elements import drop_zone

COMPUTER, ADDRESS, CAMERA = "From this computer", "Web address", "Camera"


def show_ways(store: Store) -> None:
    """One of the ways in. What arrives is looked at by a job, which the page shows above."""
    ways = {COMPUTER: drop, ADDRESS: from_address, CAMERA: from_camera, "Known sets": from_gallery}
    if allowed_roots():
        ways["Server folder"] = from_server
    usual = CAMERA if _pile(store) else COMPUTER
    way = st.segmented_control("Where are the photos?", list(ways), default=usual, key="way") or COMPUTER
    ways[way](store)


def add_sample_button(store: Store, primary: bool) -> None:
    running = any(job.working and job.name == SAMPLE_NAME for job in jobs(store.workspace))
    if st.button("Use the sample: handwritten digits", type="primary" if primary else "secondary", disabled=running):
        start_import(store.workspace, None, SAMPLE_NAME, sample=True)
        state.done_adding()
    st.caption("1,797 small images of the digits 0 to 9; they come with Thaw and need no internet.")


def drop(store: Store) -> None:
    arrived, busy = drop_zone(key="drop")
    if arrived:
        state.done_adding()
    if busy:
        st.session_state[state.ADDING] = True  # the first data set may come meanwhile, and the upload go on
    st.caption(
        "Any reasonable pile will do: one folder for each class, train and valid folders, labels in the file names or "
        "in a table, COCO, WebDataset or Parquet. You will see what was recognised before anything is imported."
    )


def from_address(store: Store) -> None:
    with st.form("address", border=False):
        url = st.text_input(
            "Address of an archive, a photo, or a data set on the Hugging Face hub",
            placeholder="https://example.org/photos.zip",
            help="Of the hub, the address of a data set's page, or hf:OWNER/NAME.",
        )
        if st.form_submit_button("Fetch it"):
            with telling_errors():
                start_look(store.workspace, url=url)
                state.done_adding()
    st.caption("http or https. Addresses on this computer or in a private network are refused.")


def from_gallery(store: Store) -> None:
    """Known sets with size, licence and address."""
    for known in KNOWN.values():
        left, right = st.columns([5, 1], vertical_alignment="center")
        size = f", {file_size(known.num_bytes)}" if known.num_bytes else ""
        there = f"{count(known.images, 'image')} in {count(known.classes, 'class', 'classes')}{size}"
        left.markdown(
            f"**{known.title}**: {known.description}  \n{there}. Licence: {known.license}. [Its page]({known.address})"
        )
        if right.button("Fetch", key=f"fetch-{known.key}", help=f"Get {known.title} and look at it", width="stretch"):
            with telling_errors():
                start_look(store.workspace, gallery=known.key)
                state.done_adding()


def from_server(store: Store) -> None:
    """Walk through the folders that the server allows; take the one that is open, or an archive in it."""
    roots = allowed_roots()
    here = st.session_state.get(state.SERVER_FOLDER) or str(roots[0])
    with telling_errors():
        places = browse(here)
        st.markdown(f"**{plain(here)}**")
        folders = [place for place in places if place.is_folder]
        archives = [place for place in places if not place.is_folder]
        up = (
            []
            if check_server_path(here) in roots
            else [FolderEntry(check_server_path(here).parent, "One folder up", True, 0)]
        )
        others = [FolderEntry(root, str(root), True, 0) for root in roots if not up and str(root) != here]
        with st.container(horizontal=True):
            for place in [*up, *others, *folders[:200]]:
                if st.button(plain(place.name), icon=":material/folder:", key=f"into-{place.path}"):
                    st.session_state[state.SERVER_FOLDER] = str(place.path)
                    st.rerun()
        if len(folders) > 200:
            st.caption(f"{len(folders) - 200:,} more folders are not shown.")
        choices = {"This folder, with all in it": check_server_path(here)} | {
            f"{place.name} ({file_size(place.num_bytes)})": place.path for place in archives
        }
        with st.container(horizontal=True, vertical_alignment="bottom"):
            chosen = st.selectbox("Take", list(choices))
            if st.button("Look at it"):
                start_look(store.workspace, choices[chosen])
                state.done_adding()


def from_camera(store: Store) -> None:
    """Photo by photo into a class. Each is on disk as soon as it is taken, and there after a reload or another page."""
    pile = _pile(store)
    shots = pile.files() if pile else []
    if pile:
        st.session_state[state.CAMERA] = st.query_params[state.CAMERA] = pile.id
    labels = sorted({shot.parent.name for shot in shots}, key=natural_key)
    left, right = st.columns(2)
    with left:
        label = st.selectbox(
            "Class that the next photos show",
            labels,
            index=None,
            placeholder="Type a class, then take photos",
            accept_new_options=True,
            key="shot-class",
        )
        if label:
            label = label.strip().replace("/", "-")  # it becomes a folder's name
            taken = st.camera_input(f"Take a photo of {plain(label)}", key=f"camera-{len(shots)}")
            if taken is not None:
                with telling_errors():
                    pile = pile or begin_upload(store.workspace)
                    st.session_state[state.CAMERA] = pile.id
                    with pile.receiving(f"camera/{label}/{label} {len(shots) + 1}.jpg") as file:
                        file.write(taken.getvalue())
                    st.rerun()
        else:
            st.caption("The photo is taken by your browser, which will ask whether it may use the camera.")
    with right:
        if not shots:
            st.caption("Your photos appear here.")
            return
        for name in labels:
            mine = [shot for shot in shots if shot.parent.name == name]
            st.markdown(f"**{plain(name)}**: {count(len(mine), 'photo')}")
            st.image([str(shot) for shot in mine[-6:]], width=84)
        with st.popover("Remove the last photo"):
            st.image(str(shots[-1]), width=168)
            if st.button("Remove this photo"):
                shots[-1].unlink()
                st.rerun()
        name = st.text_input("Data set", value="camera", max_chars=80, help="A new one, or one to add these photos to.")
        verb = "Add to" if name in store.datasets.names() else "Make"
        if st.button(
            f"{verb} {plain(name)} with {count(len(shots), 'photo')}", type="primary", disabled=not name.strip()
        ):
            with telling_errors():
                check_name(name)
                assert pile is not None  # it holds the photos
                start_import(
                    store.workspace, pile.finish(), name, delete_source_after=True, choice=Choice("folders"), mode="add"
                )
                st.query_params.pop(state.CAMERA, None)
                st.session_state.pop(state.CAMERA, None)
                state.done_adding()


def _pile(store: Store) -> Upload | None:
    """The photos taken so far, if any."""
    upload_id = st.query_params.get(state.CAMERA) or st.session_state.get(state.CAMERA)
    try:
        return find_upload(store.workspace, upload_id) if upload_id else None
    except DatasetError:
        return None
