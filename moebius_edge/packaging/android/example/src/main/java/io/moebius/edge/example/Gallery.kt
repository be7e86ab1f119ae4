package io.moebius.edge.example

import android.content.ContentResolver
import android.content.ContentValues
import android.graphics.Bitmap
import android.provider.MediaStore
import io.moebius.edge.MoebiusException
import java.io.IOException

/** The user's pictures. */
object Gallery {
    /** Saves a PNG at full size into Pictures/Moebius; others see it when it is whole. Throws MoebiusException. */
    fun save(resolver: ContentResolver, bitmap: Bitmap, name: String) {
        val values = ContentValues().apply {
            put(MediaStore.Images.Media.DISPLAY_NAME, name)
            put(MediaStore.Images.Media.MIME_TYPE, "image/png")
            put(MediaStore.Images.Media.RELATIVE_PATH, "Pictures/Moebius")
            put(MediaStore.Images.Media.IS_PENDING, 1)
        }
        val uri = resolver.insert(MediaStore.Images.Media.EXTERNAL_CONTENT_URI, values)
            ?: throw MoebiusException("the gallery takes no picture; free some space and try again")
        try {
            val written = resolver.openOutputStream(uri)?.use { bitmap.compress(Bitmap.CompressFormat.PNG, 100, it) }
            if (written != true) throw IOException("nothing was written")
            resolver.update(uri, ContentValues().apply { put(MediaStore.Images.Media.IS_PENDING, 0) }, null, null)
        } catch (error: IOException) {
            resolver.delete(uri, null, null)
            throw MoebiusException("the picture cannot be saved: ${error.message}; free some space and try again", error)
        }
    }
}
